import numpy as np
import pytest

from agkd_tf.losses import optimal_transport


def test_the_loss_is_the_smoothed_cross_entropy_of_the_adversary(bench, formulas):
    defense = bench.defense("feature_scatter")
    crafted, labels = bench.craft(defense)
    z = np.float64(defense.classifier(crafted["adv"], training=True).logits)
    expected = formulas.cross_entropy(z, labels.numpy(), 0.5)
    assert bench.total(defense, crafted, labels) == pytest.approx(expected, rel=1e-4)


def test_the_attack_raises_the_transport_distance_and_uses_no_label(bench):
    defense = bench.defense("feature_scatter", random_start=False, attack_steps=4)
    clean, labels = bench.batch(32)
    crafted, _ = bench.craft(defense, 32)
    logits = defense.classifier.logits
    near = optimal_transport(logits(clean), logits(clean + 1e-3))
    assert float(optimal_transport(logits(clean), logits(crafted["adv"]))) > 2 * float(near)
    other = defense.craft(clean, (labels + 1) % 10, (0, 0))
    np.testing.assert_array_equal(crafted["adv"], other["adv"])
