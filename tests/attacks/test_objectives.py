import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.attacks.objectives import cross_entropy, margin, targeted_cross_entropy, targeted_margin

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 5, (40, 10)).astype(np.float32)
LABELS = RNG.integers(0, 10, 40)


def numpy_cross_entropy(logits, labels):
    logits = logits.astype(np.float64)
    return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]


def numpy_margin(logits, labels, confidence):
    rows = []
    for row, label in zip(logits, labels, strict=True):
        rows.append(-max(0.0, row[label] - np.delete(row, label).max() + confidence))
    return np.array(rows)


def test_cross_entropy_is_per_image():
    np.testing.assert_allclose(cross_entropy(LOGITS, LABELS), numpy_cross_entropy(LOGITS, LABELS), rtol=1e-5, atol=1e-6)


def test_targeted_cross_entropy_rises_towards_the_target():
    expected = -numpy_cross_entropy(LOGITS, LABELS)
    np.testing.assert_allclose(targeted_cross_entropy(LOGITS, LABELS), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("confidence", [0.0, 2.0, 50.0])
def test_margin_equals_its_numpy_transcription(confidence):
    value = margin(tf.constant(LOGITS), LABELS, confidence=confidence)
    np.testing.assert_allclose(value, numpy_margin(LOGITS, LABELS, confidence), rtol=1e-5)


def test_margin_of_a_case_worked_out_by_hand():
    logits = tf.constant([[2.0, 5.0, 1.0], [2.0, 5.0, 1.0]])
    np.testing.assert_allclose(margin(logits, [1, 2]), [-53.0, -46.0])


def test_the_targeted_margin_is_the_margin_of_the_target_the_other_way_round():
    logits = tf.constant([[2.0, 5.0, 1.0], [2.0, 5.0, 1.0]])
    np.testing.assert_allclose(targeted_margin(logits, [1, 2]), [-47.0, -54.0])


def test_margin_does_not_saturate_at_the_published_confidence():
    with tf.GradientTape() as tape:
        logits = tf.constant([[-20.0, 20.0, 0.0]])
        tape.watch(logits)
        value = margin(logits, [0])
    np.testing.assert_array_equal(tape.gradient(value, logits), [[-1.0, 1.0, 0.0]])
