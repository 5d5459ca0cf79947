"""CutMix in adversarial training and TRADES."""

import numpy as np
import pytest

from agkd_tf import InputError
from agkd_tf.data.augmentation.cutmix import cutmix
from agkd_tf.randomness import step_seed
from agkd_tf.training import Recipe

MIX = {"cutmix": True, "cutmix_copies": 2, "label_smoothing": 0.1}


@pytest.fixture(params=["at", "trades"])
def defense(bench, request):
    return bench.defense(request.param, **MIX)


def smoothed(y, s, n=10):
    return (1 - s - s / (n - 1)) * y + s / (n - 1)


def test_the_loss_equals_its_formula_in_numpy(bench, formulas, defense):
    crafted, labels = bench.craft(defense)
    images, soft_labels = cutmix(*bench.batch(), 10, step_seed(defense.seed, 0), copies=2)
    np.testing.assert_array_equal(crafted["labels"], soft_labels)
    adv = np.float64(defense.classifier(crafted["adv"], training=True).logits)
    target = smoothed(np.float64(soft_labels), 0.1)
    if "clean" in crafted:
        np.testing.assert_array_equal(crafted["clean"], images)
        clean = np.float64(defense.classifier(images, training=True).logits)
        expected = formulas.cross_entropy(clean, target) + 6.0 * formulas.kl(clean, adv).mean()
    else:
        expected = formulas.cross_entropy(adv, target)
    assert bench.total(defense, crafted, labels) == pytest.approx(expected, rel=1e-4)


def test_the_attack_raises_the_divergence_from_the_mixed_labels(bench, formulas, defense):
    crafted, _ = bench.craft(defense)
    images, soft_labels = cutmix(*bench.batch(), 10, step_seed(defense.seed, 0), copies=2)
    before, after = (np.float64(defense.classifier.logits(each)) for each in (images, crafted["adv"]))
    y = np.float64(soft_labels)
    losses = [-(y * np.log(formulas.softmax(logits))).sum(1) for logits in (before, after)]
    assert (losses[1] > losses[0] + 0.1).all()
    assert np.abs(crafted["adv"] - images).max() <= 0.15 + 1e-6


def test_the_training_accuracy_is_of_the_batch_s_own_labels(bench, defense):
    _, scalars, _ = bench.gradients(defense)
    assert 0 <= float(scalars["train_accuracy"]) * 8 == pytest.approx(round(float(scalars["train_accuracy"]) * 8))


@pytest.mark.parametrize("setting", [{"cutmix_window": 20}, {"cutmix_copies": 4}])
def test_settings_without_cutmix_are_refused(bench, setting):
    with pytest.raises(InputError, match="has no effect without `cutmix=True`"):
        bench.defense("trades", **setting)
    with pytest.raises(InputError, match="has no effect without `cutmix=True`"):
        Recipe(defense="at", hyperparameters=setting)


@pytest.mark.parametrize("name", ["alp", "sml"])
def test_a_defense_of_hard_labels_refuses_it(bench, name):
    with pytest.raises(InputError, match=r"`cutmix` mixes labels, and .* needs one label per image"):
        bench.defense(name, cutmix=True)
