import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.losses import boosted_margin, weighted_divergence

RNG = np.random.default_rng(0)
CLEAN, ADV = RNG.normal(0, 2, (2, 20, 10))
LABELS = RNG.integers(0, 10, 20)
ROWS = np.arange(20)


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def numpy_margin(adv):
    p = softmax(adv)
    p[ROWS, LABELS] = 0
    return -np.log(1.0001 - p.max(axis=1)).mean()


def numpy_divergence(clean, adv):
    p, q = softmax(clean), softmax(adv)
    return ((1.0000001 - p[ROWS, LABELS]) * (p * np.log(p / q)).sum(axis=1)).mean()


def numeric_gradient(function, point, delta=1e-6):
    gradient = np.empty_like(point)
    for place in np.ndindex(point.shape):
        step = np.zeros_like(point)
        step[place] = delta
        gradient[place] = (function(point + step) - function(point - step)) / (2 * delta)
    return gradient


def test_the_margin_equals_its_numpy_transcription():
    np.testing.assert_allclose(boosted_margin(tf.constant(ADV), LABELS), numpy_margin(ADV), rtol=1e-9)


def test_the_divergence_equals_its_numpy_transcription():
    loss = weighted_divergence(tf.constant(CLEAN), tf.constant(ADV), LABELS)
    np.testing.assert_allclose(loss, numpy_divergence(CLEAN, ADV), rtol=1e-9)


def test_a_margin_worked_out_by_hand():
    logits = tf.math.log([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    # the best others are 0.3 and 0.5: -(ln 0.7001 + ln 0.5001) / 2
    np.testing.assert_allclose(boosted_margin(logits, [0, 1]), 0.5247396, rtol=1e-6)


def test_a_divergence_worked_out_by_hand():
    clean, adv = tf.math.log([[0.5, 0.5]]), tf.math.log([[0.25, 0.75]])
    # 0.5000001 times the divergence (ln 2) / 2 + (ln 2/3) / 2 = 0.1438410
    np.testing.assert_allclose(weighted_divergence(clean, adv, [0]), 0.0719205, rtol=1e-5)


def test_the_constants_keep_certain_predictions_finite_and_felt():
    certain = tf.constant([[100.0, 0.0]])
    np.testing.assert_allclose(boosted_margin(certain, [1]), -np.log(1e-4), rtol=1e-3)
    # 1.0000001 - 1 = 1e-7, next to which float32 has 1.2e-7; the divergence is 100
    assert 0.9e-5 < weighted_divergence(certain, certain[:, ::-1], [0]) < 1.3e-5


@pytest.mark.parametrize("lead", [12.0, 20.0, 60.0])
def test_the_margin_keeps_its_digits_where_a_wrong_class_leads_by_far(lead):
    logits = np.array([[lead, 0.0, -1.0]])
    p = softmax(logits)
    exact = -np.log(1e-4 + p[:, 1:].sum()).item()  # in float64, and without a difference of nearly equal numbers
    assert float(boosted_margin(tf.constant(logits, tf.float32), [1])) == pytest.approx(exact, rel=1e-6)


def test_equal_predictions_do_not_diverge():
    np.testing.assert_allclose(weighted_divergence(tf.constant(CLEAN), tf.constant(CLEAN), LABELS), 0, atol=1e-12)


def test_the_margins_gradient_is_that_of_its_transcription():
    adv = tf.constant(ADV)
    with tf.GradientTape() as tape:
        tape.watch(adv)
        loss = boosted_margin(adv, LABELS)
    np.testing.assert_allclose(tape.gradient(loss, adv), numeric_gradient(numpy_margin, ADV), atol=1e-8)


@pytest.mark.parametrize("factor", ["clean", "adv"])
def test_the_divergences_gradient_flows_through_every_factor(factor):
    clean, adv = tf.constant(CLEAN), tf.constant(ADV)
    with tf.GradientTape() as tape:
        tape.watch([clean, adv])
        loss = weighted_divergence(clean, adv, LABELS)
    gradients = dict(zip(("clean", "adv"), tape.gradient(loss, [clean, adv]), strict=True))
    numeric = {
        "clean": lambda: numeric_gradient(lambda logits: numpy_divergence(logits, ADV), CLEAN),
        "adv": lambda: numeric_gradient(lambda logits: numpy_divergence(CLEAN, logits), ADV),
    }
    np.testing.assert_allclose(gradients[factor], numeric[factor](), atol=1e-8)
