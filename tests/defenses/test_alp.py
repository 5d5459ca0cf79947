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
