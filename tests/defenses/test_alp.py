import numpy as np
import pytest


@pytest.mark.parametrize("pairing", ["logits", "embedding"])
def test_the_loss_equals_its_formula_in_numpy(bench, formulas, pairing):
    defense = bench.defense("alp", pairing_weight=0.7, pairing=pairing, label_smoothing=0.1)
    crafted, labels = bench.craft(defense)
    joint = np.concatenate([crafted["clean"], crafted["adv"]])
    _, h, z = (np.float64(tensor) for tensor in defense.classifier(joint, training=True))
    y = labels.numpy()
    paired = {"logits": ((z[:8] - z[8:]) ** 2).mean(), "embedding": ((h[:8] - h[8:]) ** 2).sum(1).mean()}
    expected = formulas.cross_entropy(z, np.concatenate([y, y]), 0.1) + 0.7 * paired[pairing]
    assert bench.total(defense, crafted, labels) == pytest.approx(expected, rel=1e-4)
