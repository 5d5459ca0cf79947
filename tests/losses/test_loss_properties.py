"""Whatever logits, embeddings and maps: values and gradients are finite, and have the signs they must."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agkd_tf import losses
from agkd_tf.attention.class_irrelevant import class_irrelevant_map

# Name -> (loss of two float tensors [B, n] and labels, whether it is never negative).
LOSSES = {
    "smoothed_cross_entropy": (lambda a, b, y: losses.smoothed_cross_entropy(a, y, 0.3 / a.shape[1]), True),
    "soft_cross_entropy": (lambda a, b, y: losses.soft_cross_entropy(a, tf.nn.softmax(b)), True),
    "adversarial_label": (lambda a, b, y: losses.soft_cross_entropy(a, losses.adversarial_label(b, y)), True),
    "angular_triplet": (lambda a, b, y: losses.angular_triplet(a, b, a[::-1] + b, margin=0.03), True),
    "embedding_norm": (lambda a, b, y: losses.embedding_norm(a, b), True),
    "embedding_pairing": (lambda a, b, y: losses.embedding_pairing(a, b), True),
    "logit_pairing": (lambda a, b, y: losses.logit_pairing(a, b), True),
    "kl_divergence": (lambda a, b, y: tf.reduce_mean(losses.kl_divergence(a, b)), True),
    "softened_divergence": (lambda a, b, y: losses.softened_divergence(a, b, 30.0), True),
    "gradient_matching": (lambda a, b, y: losses.gradient_matching(a, b, b, a), True),
    "margin_hinge": (lambda a, b, y: losses.margin_hinge(a, y, confidence=5.0), True),
    # 1.0001 - p within the logarithm, so that it may lie a little below zero.
    "boosted_margin": (lambda a, b, y: losses.boosted_margin(a, y), False),
    "weighted_divergence": (lambda a, b, y: losses.weighted_divergence(a, b, y), True),
    "optimal_transport": (lambda a, b, y: losses.optimal_transport(a, b), True),
    "attention_distillation": (
        lambda a, b, y: losses.attention_distillation(*(class_irrelevant_map(maps(each)) for each in (a, b))),
        True,
    ),
}


def maps(rows):
    return tf.reshape(tf.tile(rows, [1, 4]), [rows.shape[0], 2, 2, rows.shape[1]])


def values(kind, shape, random):
    if kind == "zero":
        return np.zeros(shape)
    if kind == "identical":
        return np.broadcast_to(random.standard_normal((1, 1)), shape)
    return {"normal": 1.0, "small": 1e-12, "large": 1e3}[kind] * random.standard_normal(shape)


KINDS = st.sampled_from(["normal", "small", "large", "zero", "identical"])


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=3 * settings().max_examples, deadline=None, suppress_health_check=list(HealthCheck))
@given(batch=st.integers(1, 5), classes=st.integers(2, 7), first=KINDS, second=KINDS, seed=st.integers(0, 2**31 - 1))
def test_losses_and_their_gradients_are_finite(name, batch, classes, first, second, seed):
    random, (loss, positive) = np.random.default_rng(seed), LOSSES[name]
    a, b = (tf.constant(values(kind, (batch, classes), random), tf.float32) for kind in (first, second))
    labels = tf.constant(random.integers(0, classes, batch), tf.int32)
    with tf.GradientTape() as tape:
        tape.watch([a, b])
        value = loss(a, b, labels)
    assert value.shape == ()
    assert np.isfinite(value)
    if positive:
        assert value >= -1e-5 * (1 + np.abs(a).max() + np.abs(b).max())
    for gradient in tape.gradient(value, [a, b], unconnected_gradients="zero"):
        assert np.isfinite(gradient).all()
