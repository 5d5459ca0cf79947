import numpy as np
import pytest


def test_the_loss_equals_its_formula_in_numpy(bench, formulas):
    defense = bench.defense("alp", pairing_weight=0.7, label_smoothing=0.1)
    crafted, labels = bench.craft(defense)
    joint = np.concatenate([crafted["clean"], crafted["adv"]])
    z = np.float64(defense.classifier(joint, training=True).logits)
    y = labels.numpy()
    expected = formulas.cross_entropy(z, np.concatenate([y, y]), 0.1) + 0.7 * ((z[:8] - z[8:]) ** 2).mean()
    assert bench.total(defense, crafted, labels) == pytest.approx(expected, rel=1e-4)


def test_clean_and_adversarial_images_share_one_training_pass(bench):
    defense = bench.defense("alp")
    crafted, labels = bench.craft(defense)
    mean = defense.student.layers[2].moving_mean
    before = mean.numpy()
    features = defense.student.layers[1](np.concatenate([crafted["clean"], crafted["adv"]])).numpy()
    defense.loss_terms(crafted, labels)
    np.testing.assert_allclose(mean.numpy(), 0.9 * before + 0.1 * features.mean((0, 1, 2)), rtol=1e-3, atol=1e-6)
