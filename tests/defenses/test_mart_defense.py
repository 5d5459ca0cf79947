import numpy as np
import pytest


def test_the_loss_equals_its_formula_in_numpy(bench, formulas):
    defense = bench.defense("mart", mart_beta=5.0)
    crafted, labels = bench.craft(defense)
    clean, adv = (np.float64(defense.classifier(crafted[k], training=True).logits) for k in ("clean", "adv"))
    y = labels.numpy()
    expected = formulas.cross_entropy(adv, y) + formulas.boosted_margin(adv, y)
    expected += 5.0 * formulas.weighted_divergence(clean, adv, y)
    assert bench.total(defense, crafted, labels) == pytest.approx(expected, rel=1e-4)
