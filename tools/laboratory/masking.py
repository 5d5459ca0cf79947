"""Classifiers whose gradients are masked, made from others."""

import tensorflow as tf

from agkd_tf.types import Logits

MASKS = ("rounding", "scaling")
LEVELS, SCALE = 8, 1000.0


def masked(logits: Logits, mask: str | None) -> Logits:
    """Returns a classifier with masked gradients, or the classifier itself if `mask` is None.

    Args:
        logits: the classifier.
        mask: `rounding` rounds pixels to 8 levels, which stops every gradient; `scaling` multiplies the logits by
            1000, which saturates the softmax.
    """
    if mask == "scaling":
        return lambda images: SCALE * logits(images)
    if mask == "rounding":
        return lambda images: logits(tf.round(images * (LEVELS - 1)) / (LEVELS - 1))
    return logits
