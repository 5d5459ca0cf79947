import numpy as np
import pytest


def test_the_loss_equals_its_formula_in_numpy(bench, formulas):
    defense = bench.defense("mart", mart_beta=5.0)
    crafted, labels = bench.craft(defense)
    clean, adv = (np.float64(defense.classifier(crafted[k], training=True).logits) for k in ("clean", "adv"))
    y, rows = labels.numpy(), np.arange(8)
    p = formulas.softmax(adv)
    p[rows, y] = 0
    expected = formulas.cross_entropy(adv, y) - np.log(1.0001 - p.max(1)).mean()
    expected += 5.0 * ((1.0000001 - formulas.softmax(clean)[rows, y]) * formulas.kl(clean, adv)).mean()
    assert bench.total(defense, crafted, labels) == pytest.approx(expected, rel=1e-4)
