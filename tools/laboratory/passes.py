"""Counts the passes of a network that an attack takes: forward and backward, per image."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


class Passes(NamedTuple):
    """Numbers of images that went through a network."""

    forward: int
    backward: int

    @property
    def total(self) -> int:
        """Both together."""
        return self.forward + self.backward


class CountedLogits:
    """A classifier that counts.

    logits = CountedLogits(classifier.logits)
    run_attack(logits, examples, attack)
    print(logits.passes)

    Args:
        logits: callable, float32 images [B, H, W, C] -> float32 logits [B, n].
    """

    def __init__(self, logits: Callable[[tf.Tensor], tf.Tensor]) -> None:
        self._logits = logits
        self._forward, self._backward = (tf.Variable(0, dtype=tf.int64, trainable=False) for _ in range(2))

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Returns the logits."""

        @tf.custom_gradient
        def counted(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
            self._forward.assign_add(tf.shape(x, tf.int64)[0])

            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                self._backward.assign_add(tf.shape(upstream, tf.int64)[0])
                return upstream

            return tf.identity(x), gradient

        return self._logits(counted(images))

    @property
    def passes(self) -> Passes:
        """What was counted since the last reset."""
        return Passes(int(self._forward), int(self._backward))

    def reset(self) -> None:
        """Begins again at 0."""
        self._forward.assign(0)
        self._backward.assign(0)
