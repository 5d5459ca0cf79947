"""Measures how far an attack moves a network's attention maps."""

import numpy as np
import tensorflow as tf

from agkd_tf.attention import compared_maps
from agkd_tf.data.image_dataset import Examples
from agkd_tf.data.pixels import as_float
from agkd_tf.intervals import mean_interval
from agkd_tf.models import Classifier
from agkd_tf.types import Interval


def attention_shift(
    student: Classifier,
    examples: Examples,
    adversaries: np.ndarray,
    *,
    teacher: Classifier | None = None,
    attention: str = "agkd",
    batch_size: int = 100,
) -> dict[str, tuple[float, Interval]]:
    """Returns how much the student's attention maps of adversaries differ from maps of the clean images.

    The distance between two maps is the mean |difference| over their positions, in [0, 1], as in AGKD-BML's attention
    loss.

    Args:
        student: `agkd_tf.models.Classifier`.
        examples: `Examples`.
        adversaries: float32 [N, H, W, C] in [0, 1], adversaries of the examples.
        teacher: `Classifier`, or None.
        attention: a name in `agkd_tf.attention.ATTENTION_MAPS`.
        batch_size: images per step.

    Returns:
        dict with the keys "teacher, clean", if there is a teacher, and "student, clean" -> (mean distance over the
        images, its 95 % bootstrap interval (low, high)).
    """

    @tf.function(autograph=False, reduce_retracing=True)
    def step(images: tf.Tensor, moved: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        maps, _ = compared_maps(attention, student, as_float(images), moved, labels, teacher=teacher)
        attacked = maps.pop("student, adversary")
        return {name: tf.reduce_mean(tf.abs(attacked - found), axis=[1, 2]) for name, found in maps.items()}

    found = []
    for begin in range(0, len(examples), batch_size):
        part = examples.take(slice(begin, begin + batch_size))
        moved = adversaries[begin : begin + batch_size]
        found.append(step(tf.constant(part.images), tf.constant(moved), tf.constant(part.labels)))
    distances = {name: np.concatenate([part[name].numpy() for part in found]) for name in found[0]}
    return {name: (float(values.mean()), mean_interval(values)) for name, values in distances.items()}
