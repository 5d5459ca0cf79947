import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.losses import adversarial_label

RNG = np.random.default_rng(0)


def transcription(logits, label, ratio, gap=0.01):
    p = np.exp(logits) / np.exp(logits).sum()
    v = -np.log(p + 1e-8)
    others = [k for k in range(len(p)) if k != label]
    least, largest = min(v[others]), max(v[others])
    total = sum(v[others]) - len(others) * (least - gap)
    e = 1 / (1 + ratio * (largest - least + gap) / total)
    q = np.array([e / total * (value - least + gap) for value in v])
    q[label] = 1 - e
    return q


@pytest.mark.parametrize("classes", [2, 3, 10, 200])
@pytest.mark.parametrize("ratio", [1.0, 9.0])
def test_it_equals_its_numpy_transcription(classes, ratio):
    logits, labels = RNG.normal(0, 2, (30, classes)).astype(np.float32), RNG.integers(0, classes, 30)
    expected = [transcription(row, label, ratio) for row, label in zip(np.float64(logits), labels, strict=True)]
    np.testing.assert_allclose(adversarial_label(tf.constant(logits), labels, ratio=ratio), expected, atol=2e-5)


@pytest.mark.parametrize("scale", [0.0, 1.0, 50.0])
def test_it_sums_to_one_with_the_true_class_nine_times_the_largest_other(scale):
    logits, labels = scale * RNG.normal(size=(40, 10)), RNG.integers(0, 10, 40)
    label = adversarial_label(tf.constant(logits, tf.float32), labels).numpy()
    np.testing.assert_allclose(label.sum(1), 1, atol=1e-5)
    rows = np.arange(40)
    others = label.copy()
    others[rows, labels] = 0
    np.testing.assert_allclose(label[rows, labels], 9 * others.max(1), rtol=1e-3)


def test_the_most_confusing_class_gets_the_least_mass():
    logits = tf.constant([[3.0, 2.0, 1.0, 0.0]])
    (label,) = adversarial_label(logits, [0]).numpy()
    assert label[0] > label[3] > label[2] > label[1] > 0
