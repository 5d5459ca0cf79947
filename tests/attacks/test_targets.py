import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.attacks import most_confusing_class


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
