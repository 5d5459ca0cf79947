import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from agkd_tf.losses import kl_divergence

RNG = np.random.default_rng(0)
CLEAN, ADV = RNG.normal(0, 3, (2, 12, 7))


def test_it_equals_the_sum_over_classes():
    p, q = (scipy.special.softmax(logits, axis=1) for logits in (CLEAN, ADV))
    expected = scipy.special.rel_entr(p, q).sum(axis=1)
    np.testing.assert_allclose(kl_divergence(tf.constant(CLEAN), tf.constant(ADV)), expected, rtol=1e-9)


def test_a_case_worked_out_by_hand():
    # p = (3/4, 1/4), q = (1/4, 3/4): 3/4 log 3 - 1/4 log 3.
    logits = tf.constant([[np.log(3.0), 0.0]], tf.float32), tf.constant([[0.0, np.log(3.0)]], tf.float32)
    assert float(kl_divergence(*logits)[0]) == pytest.approx(0.5 * np.log(3))


def test_it_is_zero_for_equal_predictions_and_differs_by_direction():
    clean, adv = tf.constant(CLEAN), tf.constant(ADV)
    np.testing.assert_allclose(kl_divergence(clean, clean + 5.0), 0, atol=1e-12)
    assert np.all(np.abs(kl_divergence(clean, adv) - kl_divergence(adv, clean)) > 1e-6)


def test_gradients_reach_both_sides():
    clean, adv = tf.constant(CLEAN), tf.constant(ADV)
    with tf.GradientTape() as tape:
        tape.watch([clean, adv])
        value = tf.reduce_sum(kl_divergence(clean, adv))
    assert all(float(tf.norm(gradient)) > 0 for gradient in tape.gradient(value, [clean, adv]))
