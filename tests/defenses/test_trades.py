import numpy as np
import pytest
import tensorflow as tf

from agkd_tf import InputError
from agkd_tf.losses import kl_divergence


def test_the_loss_equals_its_formula_in_numpy(bench, formulas):
    defense = bench.defense("trades", trades_beta=3.0)
    crafted, labels = bench.craft(defense)
    clean, adv = (np.float64(defense.classifier(crafted[k], training=True).logits) for k in ("clean", "adv"))
    expected = formulas.cross_entropy(clean, labels.numpy()) + 3.0 * formulas.kl(clean, adv).mean()
    assert bench.total(defense, crafted, labels) == pytest.approx(expected, rel=1e-4)


def test_the_attack_raises_the_divergence_from_the_clean_prediction(bench):
    defense = bench.defense("trades")
    crafted, _ = bench.craft(defense)
    clean = defense.classifier.logits(crafted["clean"])
    reached = kl_divergence(clean, defense.classifier.logits(crafted["adv"])).numpy()
    noise = tf.random.stateless_uniform(crafted["clean"].shape, [1, 2], -0.15, 0.15)
    random = kl_divergence(clean, defense.classifier.logits(tf.clip_by_value(crafted["clean"] + noise, 0, 1)))
    assert np.all(reached > 3 * random.numpy())


def test_the_start_is_gaussian_and_small(bench):
    defense = bench.defense("trades", attack_steps=0)
    crafted, _ = bench.craft(defense)
    moved = (crafted["adv"] - crafted["clean"]).numpy()
    inside = (crafted["clean"].numpy() > 0.01) & (crafted["clean"].numpy() < 0.99)
    assert moved[inside].std() == pytest.approx(0.001, rel=0.2)


@pytest.mark.parametrize("setting", [{"random_start": False}, {"start_stddev": 0.0}, {"start_radius": 0}])
def test_an_attack_that_begins_where_its_gradient_is_zero_is_refused(bench, setting):
    with pytest.raises(InputError, match="needs `random_start`, with a size above 0"):
        bench.defense("trades", **setting)
