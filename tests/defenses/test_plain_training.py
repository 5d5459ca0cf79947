"""Undefended and adversarial training: cross-entropy, of clean images or of adversaries alone."""

import numpy as np
import pytest

PARTS = {"undefended": "clean", "at": "adv"}


@pytest.mark.parametrize(("given", "smoothing"), [({}, 0.0), ({"label_smoothing": 0.3}, 0.3)])
@pytest.mark.parametrize("name", PARTS)
def test_the_loss_equals_its_formula_in_numpy(bench, formulas, name, given, smoothing):
    defense = bench.defense(name, **given)
    crafted, labels = bench.craft(defense)
    z = np.float64(defense.classifier(crafted[PARTS[name]], training=True).logits)
    expected = formulas.cross_entropy(z, labels.numpy(), smoothing)
    found = bench.losses(defense, crafted, labels)
    assert found == pytest.approx({"cross_entropy": expected, "loss": expected}, rel=1e-4)


def test_undefended_training_sees_the_images_as_they_are(bench):
    crafted, _ = bench.craft(bench.defense("undefended"))
    np.testing.assert_array_equal(crafted["clean"], bench.batch()[0])
