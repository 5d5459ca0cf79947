import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.losses import margin_hinge

LOGITS = tf.constant([[5.0, 1.0, 3.0], [5.0, 1.0, 3.0]])


def test_a_case_worked_out_by_hand():
    # Margins of the best other class: 3 - 5 = -2 and 5 - 3 = 2.
    assert float(margin_hinge(LOGITS, [0, 2], confidence=0.0)) == pytest.approx((0 + 2) / 2)
    assert float(margin_hinge(LOGITS, [0, 2], confidence=10.0)) == pytest.approx((8 + 12) / 2)


def test_its_gradient_is_not_zero_where_a_probability_margin_would_saturate():
    # CAT's confidence of 10 against logits whose softmax is 1.
    logits = tf.constant([[9.0, 0.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = margin_hinge(logits, [0], confidence=10.0)
    assert float(value) == pytest.approx(1.0)
    np.testing.assert_allclose(tape.gradient(value, logits)[0, 0], -1.0)
