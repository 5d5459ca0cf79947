"""FMN: the fast minimum-norm attack.

Source: Pintor, Roli, Brendel and Biggio, Fast Minimum-norm Adversarial Attacks through Adaptive Norm Constraints,
NeurIPS 2021, algorithm 1; constants of the released code, in adversarial-library.
"""

import dataclasses
from typing import Annotated

import tensorflow as tf

from agkd_tf.attacks.attack import named_with
from agkd_tf.attacks.ball import Ball, Norm
from agkd_tf.attacks.minimum_norm import FINAL_SHARE, TINY, MinimumNormAttack, Search, per_image
from agkd_tf.logits import label_margin
from agkd_tf.settings import Size

STEP_SIZES: dict[Norm, float] = {"l2": 1.0, "linf": 10.0}  # as in AttackBench
RATE, FINAL_RATE = 0.05, 0.001  # gamma: by which share the radius shrinks or grows
# The first radii lead a little beyond the linearised boundary: on it, rounding would decide whether the image is ever
# misclassified, and the search of a network that is linear there would not move on.
BEYOND = 1.001


@dataclasses.dataclass(frozen=True)
class FMN(MinimumNormAttack):
    """FMN: steps along the gradient of the margin, projected onto a ball whose radius follows the boundary.

        FMN()                    # fmn-100
        FMN(steps=1000)          # fmn-1000

    Until an image is misclassified for the first time, the radius is the distance to the linearised boundary. Then it
    shrinks by a share gamma where the image is misclassified, to the smallest norm so far at most, and grows by gamma
    where it is not. Steps and gamma fall along half a cosine.

    Three details differ from the released code, adversarial-library 0.2.8, so that images are found that it misses. The
    first radii are a thousandth longer. In l_2, a step is clipped to [0, 1] before it is projected onto the ball, as
    everywhere in this library: clipped afterwards, the points of images with saturated pixels may never reach the
    boundary. And a point within the l_2 ball stays where it is; the released code moves it to the surface.

    Attributes:
        steps: number of iterations.
        step_size: Euclidean length of the first step, in units of images in [0, 1]; the last one is a hundredth of it.
            None for 1 in l_2 and 10 in l_inf.
        named: name to use instead of the one that follows from the settings.
    """

    step_size: Annotated[float | None, Size(bounded=False), "Euclidean length of the first step."] = None

    @property
    def name(self) -> str:
        """`fmn-100`, then the step size if it is given."""
        return self.named or named_with(f"fmn-{self.steps}", self, "step_size")

    def ascended(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return -label_margin(logits, labels)

    def move(self, search: Search) -> tuple[tf.Tensor, tf.Tensor]:
        norm, rate = search.ball.norm, self.cosine(search.count, RATE, FINAL_RATE)
        boundary = search.length + tf.abs(search.value) / tf.maximum(dual_length(search.gradient, norm), TINY)
        outwards = tf.where(tf.math.is_inf(search.distance), BEYOND * boundary, search.radius * (1.0 + rate))
        inwards = tf.minimum(search.radius * (1.0 - rate), search.distance)
        radius = tf.minimum(tf.where(search.fooled, inwards, outwards), search.farthest)
        size = self._step_size(norm)
        step = Ball("l2", 0.0).steepest(search.gradient, self.cosine(search.count, size, FINAL_SHARE * size))
        return Ball(norm, per_image(radius)).project(search.points + step, search.images), radius

    def _step_size(self, norm: Norm) -> float:
        return STEP_SIZES[norm] if self.step_size is None else self.step_size

    def settings(self, ball: Ball) -> dict:
        return super().settings(ball) | {"step_size": self._step_size(ball.norm)}


def dual_length(gradient: tf.Tensor, norm: Norm) -> tf.Tensor:
    """Returns float32 [B], the gradients' lengths in the dual norm: l_1 for l_inf, l_2 for l_2.

    Args:
        gradient: float32 [B, H, W, C].
        norm: the norm whose dual it is.
    """
    if norm == "linf":
        return tf.reduce_sum(tf.abs(gradient), axis=[1, 2, 3])
    # The squares of small numbers would underflow.
    largest = tf.reduce_max(tf.abs(gradient), axis=[1, 2, 3])
    return largest * Ball("l2", 0.0).length(gradient / tf.maximum(per_image(largest), TINY))
