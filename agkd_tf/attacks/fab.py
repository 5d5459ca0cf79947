"""FAB-T: the targeted fast adaptive boundary attack, which searches for the smallest perturbation.

Source: Croce and Hein, Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack,
ICML 2020, algorithm 1; constants of the authors' released code.
"""

import dataclasses
from typing import Annotated

import tensorflow as tf

from agkd_tf.attacks.attack import Attack, known, named_with
from agkd_tf.attacks.ball import Ball
from agkd_tf.attacks.crafting import Logits, logits_at
from agkd_tf.attacks.pgd import Clean
from agkd_tf.attacks.projections import onto_hyperplane
from agkd_tf.attacks.standing import while_standing
from agkd_tf.logits import ranked_other_class
from agkd_tf.settings import LARGEST, Range

ITERATIONS, TARGETS = 100, 9

ALPHA_MAX = 0.1  # largest weight of the clean image in a step
OVERSHOOT = 1.05  # eta
BACKWARD = 0.9  # beta


@dataclasses.dataclass(frozen=True)
class FAB(Attack):
    """FAB-T. An image for which it finds no perturbation within eps is returned unchanged.

    Attributes:
        steps: number of iterations.
        targets: number of runs; the k-th run approaches the wrong class that has the k-th largest logit on the clean
            image. At most the number of wrong classes is used.
        named: name to use instead of the one that follows from the settings.
    """

    steps: Annotated[int, Range(0, LARGEST), "Number of iterations."] = ITERATIONS
    targets: Annotated[int, Range(1, LARGEST), "Wrong classes to approach, one per run."] = TARGETS
    named: Annotated[str | None, "Name to use instead of the one that follows from the settings."] = None

    @property
    def name(self) -> str:
        """`fab-t`, then the settings that differ from their defaults."""
        return self.named or named_with("fab-t", self, "steps", "targets")

    @property
    def variants(self) -> int:
        """Number of runs, one per target."""
        return self.targets

    def resolve(self, num_classes: int | None) -> tuple[Attack, ...]:
        targets = min(self.targets, known(num_classes) - 1)
        return (Clean(), dataclasses.replace(self, targets=targets, named=self.name))

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
        targets = ranked_other_class(logits(images), labels, variant + 1)
        found, distance = fast_adaptive_boundary(logits, images, labels, targets, steps=self.steps, ball=ball)
        return tf.where((distance <= ball.eps)[:, None, None, None], found, images)

    def settings(self, ball: Ball) -> dict:
        return {
            "name": self.name,
            "eps": ball.eps,
            "norm": ball.norm,
            "steps": self.steps,
            "variants": self.targets,
        }


def fast_adaptive_boundary(
    logits: Logits,
    clean: tf.Tensor,
    labels: tf.Tensor,
    targets: tf.Tensor,
    *,
    steps: int,
    ball: Ball,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the misclassified images found nearest to `clean`, and their distances.

    Each step linearises z_target - z_label at the current point, projects that point and the clean image
    onto the boundary, and moves slightly beyond a weighted mean of the two projections. From a
    misclassified point it goes back a tenth of the way to the clean image.

    Args:
        logits: callable, images -> float32 [B, n].
        clean: float32 [B, H, W, C] within the bounds.
        labels, targets: int32 [B].
        steps: number of iterations.
        ball: gives the norm of the distances. The search for an image ends with a perturbation within the ball's eps, a
            number; with eps 0 the search continues for the smallest.
        bounds: least and greatest pixel value.

    Returns:
        (float32 [B, H, W, C], float32 [B]); the clean image and infinity where none was found.
    """
    shape, flat = tf.shape(clean), [tf.shape(clean)[0], clean.shape[1] * clean.shape[2] * clean.shape[3]]
    origin = tf.reshape(clean, flat)

    def logits_of(points: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        return logits_at(logits, rows)(tf.reshape(points, [-1, *clean.shape[1:]]))

    def iterate(count: tf.Tensor, rows: tf.Tensor, state: tuple) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        origin, point, found, distance = state
        true, target = tf.gather(labels, rows), tf.gather(targets, rows)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(point)
            scores = logits_of(point, rows)
            gap = tf.gather(scores, target, batch_dims=1) - tf.gather(scores, true, batch_dims=1)
            total = tf.reduce_sum(gap)
        normal = tape.gradient(total, point, unconnected_gradients="zero")
        offset = tf.reduce_sum(normal * point, axis=1) - gap
        steps_to = onto_hyperplane(
            tf.concat([point, origin], 0),
            tf.concat([normal, normal], 0),
            tf.concat([offset, offset], 0),
            norm=ball.norm,
            bounds=bounds,
        )
        from_point, from_origin = tf.split(steps_to, 2)
        near, far = (tf.maximum(ball.length(way), 1e-8) for way in (from_point, from_origin))
        alpha = tf.clip_by_value(near / (near + far), 0.0, ALPHA_MAX)[:, None]
        ahead = (1.0 - alpha) * (point + OVERSHOOT * from_point) + alpha * (origin + OVERSHOOT * from_origin)
        point = tf.clip_by_value(ahead, *bounds)
        fooled = tf.not_equal(tf.argmax(logits_of(point, rows), axis=1, output_type=tf.int32), true)
        reached = ball.length(point - origin)
        closer = tf.logical_and(fooled, tf.logical_and(reached < distance, distance > ball.eps))
        found = tf.where(closer[:, None], point, found)
        distance = tf.where(closer, reached, distance)
        point = tf.where(fooled[:, None], origin + BACKWARD * (point - origin), point)
        return origin, point, found, distance

    found, distance = while_standing(
        iterate,
        (origin, origin, origin, tf.fill(flat[:1], float("inf"))),
        steps=steps,
        done=lambda state: state[3] <= ball.eps,
        output=lambda state: (state[2], state[3]),
    )
    return tf.stop_gradient(tf.reshape(found, shape)), tf.stop_gradient(distance)
