"""Times a classifier's forward pass."""

import time
from typing import Any

import numpy as np
import tensorflow as tf

from agkd_tf.benchmark.peak_memory import reset_peak_memory
from agkd_tf.types import Logits


class InferenceBenchmark:
    """A classifier in inference mode, ready to be timed on random images.

    Args:
        logits: callable, float32 images [B, H, W, C] in [0, 1] -> logits [B, n].
        image_shape: (H, W, C).
        batch_size: images per step.
        jit_compile: compile with XLA.
    """

    def __init__(
        self, logits: Logits, image_shape: tuple[int, int, int], *, batch_size: int, jit_compile: bool = False
    ) -> None:
        self._images = tf.constant(np.random.default_rng(0).random((batch_size, *image_shape), np.float32))
        self._logits = tf.function(logits, jit_compile=jit_compile, autograph=False)
        reset_peak_memory()
        (self._first,) = self.run(1)
        self.run(1)

    def run(self, steps: int) -> list[float]:
        """Returns the seconds of each of `steps` steps."""
        seconds = []
        for _ in range(steps):
            begin = time.perf_counter()
            self._logits(self._images).numpy()
            seconds.append(time.perf_counter() - begin)
        return seconds

    def facts(self) -> dict[str, Any]:
        """Returns a dict for JSON: images per step, and the seconds that the first step took."""
        return {"batch_size": len(self._images), "first_step_seconds": self._first}
