"""What logits say of classes; and that losses get it without importing attacks."""

import ast
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import agkd_tf
from agkd_tf.logits import (
    difference_of_logits_ratio,
    label_margin,
    most_confusing_class,
    nearest_boundary_class,
    ranked_other_class,
    targeted_difference_of_logits_ratio,
)


def test_the_most_confusing_class_is_the_largest_logit_but_the_labels():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(200, 10)).astype(np.float32), rng.integers(0, 10, 200)
    others = [
        np.argmax(np.where(np.arange(10) == label, -np.inf, row)) for row, label in zip(logits, labels, strict=True)
    ]
    np.testing.assert_array_equal(most_confusing_class(tf.constant(logits), labels), others)


def test_a_case_worked_out_by_hand():
    logits = tf.constant([[5.0, 1.0, 3.0], [5.0, 1.0, 3.0], [-1.0, -5.0, -3.0]])
    np.testing.assert_array_equal(most_confusing_class(logits, [0, 1, 0]), [2, 0, 2])


@pytest.mark.parametrize("low", [-1e30, np.finfo(np.float32).min, -np.inf])
@pytest.mark.parametrize("label", [0, 1, 2])
def test_it_is_never_the_label_however_low_the_other_logits(low, label):
    logits = np.full((1, 3), low, np.float32)
    logits[0, label] = 1
    assert most_confusing_class(tf.constant(logits), [label])[0] != label


def test_the_classes_are_ranked_without_the_label_and_the_margin_is_to_the_first():
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(50, 6)).astype(np.float32), rng.integers(0, 6, 50)
    order = [[k for k in np.argsort(-row) if k != label] for row, label in zip(logits, labels, strict=True)]
    for rank in range(1, 6):
        found = ranked_other_class(tf.constant(logits), labels, rank)
        np.testing.assert_array_equal(found, [classes[rank - 1] for classes in order])
    lead = [row[label] - row[classes[0]] for row, label, classes in zip(logits, labels, order, strict=True)]
    np.testing.assert_array_equal(label_margin(tf.constant(logits), labels), lead)


def test_the_ratios_equal_their_formulas_and_do_not_change_with_scale():
    logits = tf.constant([[3.0, 1.0, 2.0, -1.0], [0.0, 4.0, 1.0, 2.0]])
    labels, targets = tf.constant([0, 3]), tf.constant([2, 0])
    np.testing.assert_allclose(difference_of_logits_ratio(logits, labels), [-(3 - 2) / (3 - 1), -(2 - 4) / (4 - 1)])
    expected = [-(3 - 2) / (3 - (1 - 1) / 2), -(2 - 0) / (4 - (1 + 0) / 2)]
    np.testing.assert_allclose(targeted_difference_of_logits_ratio(logits, labels, targets), expected, rtol=1e-6)
    np.testing.assert_allclose(
        difference_of_logits_ratio(1000 * logits + 7, labels), difference_of_logits_ratio(logits, labels), rtol=1e-5
    )


def test_the_nearest_boundary_is_the_gap_over_the_weights_distance():
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(6, 10)).astype(np.float32)
    logits, labels = rng.normal(size=(300, 10)).astype(np.float32), rng.integers(0, 10, 300)
    found = nearest_boundary_class(tf.constant(logits), labels, kernel).numpy()
    for row, label, choice in zip(logits, labels, found, strict=True):
        below = [k for k in range(10) if row[label] - row[k] > 1e-4]
        if below:
            assert choice == min(
                below, key=lambda k: (row[label] - row[k]) / np.linalg.norm(kernel[:, label] - kernel[:, k])
            )
        else:
            assert choice == np.argmax(np.where(np.arange(10) == label, -np.inf, row))
        assert choice != label
    assert any(row.argmin() == label for row, label in zip(logits, labels, strict=True))


def imports(path):
    """Returns the modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_losses_and_attention_do_not_import_attacks():
    root = pathlib.Path(agkd_tf.__file__).parent
    for room in ("losses", "attention"):
        files = sorted((root / room).glob("*.py"))
        assert files
        for path in files:
            assert not [name for name in imports(path) if name.startswith("agkd_tf.attacks")], path
