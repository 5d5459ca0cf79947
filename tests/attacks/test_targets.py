import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from agkd_tf.attacks import most_confusing_class, nearest_boundary_class, random_other_class
from agkd_tf.attacks.targets import random_other_class_per_example


def test_it_is_the_largest_logit_but_the_labels():
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


def of_each_example(labels, classes, seed):
    draw = tf.function(random_other_class_per_example, autograph=False)  # thousands of examples are slow eagerly
    return draw(labels, classes, tf.range(len(labels)), seed)


@pytest.mark.parametrize("draw", [random_other_class, of_each_example])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_random_other_class_is_any_but_the_label(draw, classes):
    labels = tf.constant(np.arange(6000) % classes, tf.int32)
    drawn = draw(labels, classes, (3, 5)).numpy()
    assert not np.any(drawn == labels)
    for label in range(classes):
        counts = np.delete(np.bincount(drawn[labels == label], minlength=classes), label)
        assert len(counts) == 1 or scipy.stats.chisquare(counts).pvalue > 1e-4


def test_an_examples_random_class_does_not_depend_on_its_batch():
    labels, picked = tf.constant(np.arange(100) % 10, tf.int32), np.random.default_rng(0).permutation(100)[:30]
    part = random_other_class_per_example(tf.gather(labels, picked), 10, tf.constant(picked, tf.int32), (3, 5))
    np.testing.assert_array_equal(part, of_each_example(labels, 10, (3, 5)).numpy()[picked])


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
