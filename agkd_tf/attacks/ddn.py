"""DDN: the attack by decoupled direction and norm, in l_2.

Source: Rony, Hafemann, Oliveira, Ben Ayed, Sabourin and Granger, Decoupling Direction and Norm for Efficient
Gradient-Based L2 Adversarial Attacks and Defenses, CVPR 2019, algorithm 1; constants of the released code, in
adversarial-library.
"""

import dataclasses
from typing import ClassVar

import tensorflow as tf

from agkd_tf.attacks.ball import Ball
from agkd_tf.attacks.crafting import Logits
from agkd_tf.attacks.minimum_norm import FINAL_SHARE, TINY, MinimumNormAttack, Search, per_image
from agkd_tf.attacks.objectives import cross_entropy
from agkd_tf.errors import InputError

RATE = 0.05  # gamma: by which share the radius shrinks or grows
STEP_SIZE = 1.0  # Euclidean length of the first step


@dataclasses.dataclass(frozen=True)
class DDN(MinimumNormAttack):
    """DDN: steps along the gradient of the cross-entropy, rescaled onto a sphere whose radius follows the boundary.

        DDN()                    # ddn-100

    The radius shrinks by 5 % where the image is misclassified, and grows by 5 % where it is not. Steps fall along half
    a cosine. Where the gradient is zero, the step is drawn from a Gaussian. The released code rounds every point to 8
    bits; here points are rounded only if the evaluation rounds (`png`), as for the other attacks.

    Attributes:
        steps: number of iterations.
        named: name to use instead of the one that follows from the settings.
    """

    first_radius: ClassVar[float] = 1.0

    @property
    def name(self) -> str:
        """`ddn-100`."""
        return self.named or f"ddn-{self.steps}"

    def check(self, ball: Ball) -> None:
        if ball.norm != "l2":
            raise InputError(
                f"{self.name} searches in l2 alone: `norm` must be l2, with an `eps` in l2; fmn-{self.steps} also "
                f"searches in linf. Received: {ball.norm}"
            )

    def climbed(self, logits: Logits) -> tuple[Logits, bool] | None:
        return logits, True

    def ascended(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return cross_entropy(logits, labels)

    def move(self, search: Search) -> tuple[tf.Tensor, tf.Tensor]:
        radius = tf.minimum(tf.where(search.fooled, 1.0 - RATE, 1.0 + RATE) * search.radius, search.farthest)
        size = self.cosine(search.count, STEP_SIZE, FINAL_SHARE * STEP_SIZE)
        zero = tf.reduce_max(tf.abs(search.gradient), axis=[1, 2, 3], keepdims=True) <= TINY
        drawn = tf.cond(tf.reduce_any(zero), search.noise, lambda: tf.zeros_like(search.images))
        moved = search.points - search.images
        moved += tf.where(zero, size * drawn, search.ball.steepest(search.gradient, size))
        return search.images + moved * per_image(radius / tf.maximum(search.ball.length(moved), TINY)), radius
