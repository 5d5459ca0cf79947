"""Attacks that search for the smallest perturbation that fools a classifier, whatever the ball."""

import abc
import dataclasses
import math
from collections.abc import Callable
from typing import Annotated, ClassVar, NamedTuple

import tensorflow as tf

from agkd_tf.attacks.attack import Attack
from agkd_tf.attacks.ball import Ball, Norm
from agkd_tf.attacks.crafting import Logits
from agkd_tf.attacks.pgd import Clean
from agkd_tf.logits import label_margin
from agkd_tf.randomness import fold_in, named_seed, normal_per_example
from agkd_tf.settings import Count

STEPS = 100
FINAL_SHARE = 0.01  # length of the last step, as a share of the first
# A point counts as an adversary only if it is misclassified by more than rounding, relative to the largest logit: the
# evaluation classifies it once more, in another compiled function.
CLEAR = 1e-6
TINY = 1e-30


class Search(NamedTuple):
    """Where a search stands in one iteration, before it moves on.

    Attributes:
        ball: gives the norm; its eps has no meaning.
        count: int32 scalar, number of the iteration, from 0 on.
        images, points: float32 [B, H, W, C], the clean images and the current points.
        length: float32 [B], the points' distance from the images.
        value: float32 [B], what the attack ascends.
        gradient: float32 [B, H, W, C], its gradient.
        fooled: bool [B], whether the points are misclassified.
        distance: float32 [B], the least distance of an adversary so far; infinity where there is none.
        radius: float32 [B], the radius of the iteration before.
        farthest: float32 [B], the length of the longest perturbation that stays in [0, 1].
        noise: callable -> float32 [B, H, W, C], numbers from N(0, 1) for this iteration.
    """

    ball: Ball
    count: tf.Tensor
    images: tf.Tensor
    points: tf.Tensor
    length: tf.Tensor
    value: tf.Tensor
    gradient: tf.Tensor
    fooled: tf.Tensor
    distance: tf.Tensor
    radius: tf.Tensor
    farthest: tf.Tensor
    noise: Callable[[], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class MinimumNormAttack(Attack):
    """Base class of the attacks that search for the smallest perturbation, from the clean image on.

    The search does not depend on the ball's radius. In a ball, the adversarial image is the nearest one that was found
    if it lies in the ball, else the clean image, as for FAB: no point is moved into the ball afterwards. An image is
    therefore robust at eps exactly if the norm of its smallest perturbation is above eps, and one search gives the
    accuracy at every eps.

        found = agkd_tf.evaluate(model, x, y, attacks=[FMN()], eps=8 / 255)["fmn-100"]
        found.norms                         # per image
        found.within(2 / 255).accuracy      # without another search

    Attributes:
        steps: number of iterations, each a forward and a backward pass.
        named: name to use instead of the one that follows from the settings.
    """

    steps: Annotated[Count, "Number of iterations."] = STEPS
    named: Annotated[str | None, "Name to use instead of the one that follows from the settings."] = None

    first_radius: ClassVar[float] = math.inf

    @property
    def variants(self) -> int:
        """One run."""
        return 1

    @property
    def minimum_norm(self) -> bool:
        """True."""
        return True

    def resolve(self, num_classes: int | None) -> tuple[Attack, ...]:
        return (Clean(), self)

    @abc.abstractmethod
    def ascended(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Returns what the attack ascends, float32 [B], from logits [B, n] and labels [B]."""

    @abc.abstractmethod
    def move(self, search: Search) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the next points, which are clipped to [0, 1] afterwards, and the radius.

        Returns:
            (float32 [B, H, W, C], float32 [B]).
        """

    def search(
        self,
        logits: Logits,
        images: tf.Tensor,
        labels: tf.Tensor,
        *,
        norm: Norm,
        indices: tf.Tensor,
        seed: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the nearest adversarial images that were found, and their distances.

        Args:
            logits, images, labels, indices, seed: as `Attack.perturb`.
            norm: norm of the distances.

        Returns:
            (float32 [B, H, W, C] in [0, 1], float32 [B]); the clean image and infinity where none was found.
        """
        ball, seed = Ball(norm, 0.0), named_seed(seed, self.name)
        farthest = ball.length(tf.maximum(images, 1.0 - images))

        def iterate(
            count: tf.Tensor, points: tf.Tensor, radius: tf.Tensor, found: tf.Tensor, distance: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(points)
                scores = logits(points)
                value = self.ascended(scores, labels)
                total = tf.reduce_sum(value)
            gradient = tape.gradient(total, points, unconnected_gradients="zero")
            length = ball.length(points - images)
            lead = -label_margin(scores, labels)
            clear = lead > CLEAR * tf.reduce_max(tf.abs(scores), axis=1)
            nearer = tf.logical_and(clear, length < distance)
            found = tf.where(per_image(nearer), points, found)
            distance = tf.where(nearer, length, distance)
            points, radius = self.move(
                Search(
                    ball=ball,
                    count=count,
                    images=images,
                    points=points,
                    length=length,
                    value=value,
                    gradient=gradient,
                    fooled=tf.not_equal(tf.argmax(scores, axis=1, output_type=tf.int32), labels),
                    distance=distance,
                    radius=radius,
                    farthest=farthest,
                    noise=lambda: normal_per_example(indices, images.shape[1:], fold_in(seed, count)),
                )
            )
            return count + 1, tf.clip_by_value(points, 0.0, 1.0), radius, found, distance

        infinite = tf.fill(tf.shape(images)[:1], math.inf)
        *_, found, distance = tf.while_loop(
            lambda count, *_: count < self.steps,
            iterate,
            (tf.constant(0), images, tf.fill(tf.shape(images)[:1], self.first_radius), images, infinite),
            parallel_iterations=1,
        )
        return tf.stop_gradient(found), tf.stop_gradient(distance)

    def perturb(
        self,
        logits: Logits,
        images: tf.Tensor,
        labels: tf.Tensor,
        *,
        ball: Ball,
        indices: tf.Tensor,
        seed: tf.Tensor,
        variant: int | tf.Tensor = 0,
    ) -> tf.Tensor:
        found, distance = self.search(logits, images, labels, norm=ball.norm, indices=indices, seed=seed)
        return tf.where(per_image(distance <= tf.reshape(ball.limit, [-1])), found, images)

    def cosine(self, count: tf.Tensor, first: float, last: float) -> tf.Tensor:
        """Returns a number that goes from `first` towards `last` along half a cosine, in iteration `count`."""
        share = (1.0 + tf.cos(math.pi / self.steps * tf.cast(count, tf.float32))) / 2.0
        return last + (first - last) * share

    def settings(self, ball: Ball) -> dict:
        return {"name": self.name, "eps": ball.eps, "norm": ball.norm, "steps": self.steps}


def per_image(values: tf.Tensor) -> tf.Tensor:
    """Returns values [B] in the shape [B, 1, 1, 1], which broadcasts to images."""
    return values[:, None, None, None]
