import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.losses import embedding_pairing, logit_pairing

A, B = tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([[1.0, 0.0], [0.0, 4.0]])


def test_logits_are_averaged_over_classes_and_embeddings_summed_over_features():
    # Squared differences: (0, 4) and (9, 0).
    assert float(logit_pairing(A, B)) == pytest.approx(13 / 4)
    assert float(embedding_pairing(A, B)) == pytest.approx(13 / 2)


@pytest.mark.parametrize("pairing", [logit_pairing, embedding_pairing])
def test_gradients_reach_both_sides_and_equals_cost_nothing(pairing):
    with tf.GradientTape() as tape:
        tape.watch([A, B])
        value = pairing(A, B)
    left, right = tape.gradient(value, [A, B])
    np.testing.assert_allclose(left, -right)
    assert float(tf.norm(left)) > 0
    assert float(pairing(A, A)) == 0
