import keras
import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.errors import InputError
from agkd_tf.losses import check_label_smoothing, smoothed_cross_entropy

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 3, (20, 10)).astype(np.float32)
LABELS = RNG.integers(0, 10, 20)


def transcription(logits, labels, smoothing):
    logits = logits.astype(np.float64)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    q = np.full_like(log_p, smoothing / (logits.shape[1] - 1))
    q[np.arange(len(labels)), labels] = 1 - smoothing
    return -(q * log_p).sum(axis=1).mean()


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5, 0.89])
def test_it_equals_its_numpy_transcription(smoothing):
    loss = smoothed_cross_entropy(tf.constant(LOGITS), LABELS, smoothing)
    np.testing.assert_allclose(loss, transcription(LOGITS, LABELS, smoothing), rtol=1e-5)


def test_a_case_worked_out_by_hand():
    logits = tf.math.log([[0.5, 0.25, 0.25]])
    # q = (1/2, 1/4, 1/4): (ln 2) / 2 + (ln 4) / 2
    np.testing.assert_allclose(smoothed_cross_entropy(logits, [0], 0.5), 1.0397208, rtol=1e-6)
    # q = (1/4, 1/2, 1/4): (ln 2) / 4 + 3 (ln 4) / 4
    np.testing.assert_allclose(smoothed_cross_entropy(logits, [1], 0.5), 1.2130076, rtol=1e-6)


def test_no_smoothing_is_cross_entropy():
    expected = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(LABELS, LOGITS))
    np.testing.assert_allclose(smoothed_cross_entropy(tf.constant(LOGITS), LABELS, 0.0), expected, rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_it_is_keras_smoothing_of_n_over_n_minus_1_times_as_much(smoothing):
    keras_loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing * 10 / 9)
    expected = keras_loss(np.eye(10, dtype=np.float32)[LABELS], LOGITS)
    np.testing.assert_allclose(smoothed_cross_entropy(tf.constant(LOGITS), LABELS, smoothing), expected, rtol=1e-5)


@pytest.mark.parametrize(("smoothing", "num_classes"), [(0, 2), (0.49, 2), (0.5, 10), (0.89, 10)])
def test_smoothing_that_keeps_the_label_largest_is_accepted(smoothing, num_classes):
    assert check_label_smoothing(smoothing, num_classes) == smoothing


@pytest.mark.parametrize(
    ("smoothing", "num_classes"), [(0.5, 2), (0.9, 10), (0.95, 10), (2 / 3, 3), (1.0, 10), (-0.1, 10), (np.nan, 10)]
)
def test_smoothing_that_does_not_is_refused(smoothing, num_classes):
    with pytest.raises(InputError, match=rf"`label_smoothing` must be in \[0, .*\) with {num_classes} classes"):
        check_label_smoothing(smoothing, num_classes)
