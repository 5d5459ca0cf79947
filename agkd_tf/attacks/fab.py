"""FAB-T: the fast adaptive boundary attack, targeted, which looks for the smallest perturbation.

Source: Croce and Hein, Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack,
ICML 2020, algorithm 1; constants of the authors' released code.
"""

import dataclasses
from typing import Annotated

import tensorflow as tf

from agkd_tf.attacks.attack import Attack, known, named_with
from agkd_tf.attacks.ball import Ball
from agkd_tf.attacks.crafting import Logits
from agkd_tf.attacks.pgd import Clean
from agkd_tf.attacks.projections import onto_hyperplane
from agkd_tf.logits import ranked_other_class
from agkd_tf.settings import LARGEST, Range

ITERATIONS, TARGETS = 100, 9

ALPHA_MAX = 0.1  # how far a step may lean towards the clean image
OVERSHOOT = 1.05  # eta
BACKWARD = 0.9  # beta


@dataclasses.dataclass(frozen=True)
class FAB(Attack):
    """FAB-T; where no perturbation within eps was found, the clean image is returned.

    Attributes:
        steps: iterations.
        targets: runs; the k-th approaches the clean image's k-th wrong class. At most as many as there are.
        named: another name than the one that follows from the settings.
    """

    steps: Annotated[int, Range(0, LARGEST), "Iterations."] = ITERATIONS
    targets: Annotated[int, Range(1, LARGEST), "Wrong classes that are approached, one a run."] = TARGETS
    named: Annotated[str | None, "Another name than the settings'."] = None

    @property
    def name(self) -> str:
        """`fab-t`, with settings that are not the default."""
        return self.named or named_with("fab-t", self, "steps", "targets")

    @property
    def variants(self) -> int:
        """Runs, one a target."""
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
    """Returns the misclassified images nearest to `clean` that were found, and their distances.

    Each step linearises z_target - z_label at the current point, projects both that point and the clean
    image on the boundary, and goes to a mean of the two, a little beyond. From a misclassified point it
    goes back by a tenth of the way.

    Args:
        logits: callable, images -> float32 [B, n].
        clean: float32 [B, H, W, C] within the bounds.
        labels, targets: int32 [B].
        steps: number of iterations.
        ball: of the norm that distances are measured in. A perturbation within its eps, a number, ends the search for
            an image, and the loop when every image has one; with eps 0 the search goes on for the smallest.
        bounds: least and greatest pixel value.

    Returns:
        (float32 [B, H, W, C], float32 [B]); where nothing was found, the clean image and infinity.
    """
    shape, flat = tf.shape(clean), [tf.shape(clean)[0], clean.shape[1] * clean.shape[2] * clean.shape[3]]
    origin = tf.reshape(clean, flat)

    def difference(scores):
        target, true = (tf.gather(scores, classes, batch_dims=1) for classes in (targets, labels))
        return target - true

    def misclassified(points):
        return tf.not_equal(tf.argmax(logits(tf.reshape(points, shape)), axis=1, output_type=tf.int32), labels)

    def iterate(count, point, found, distance):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(point)
            gap = difference(logits(tf.reshape(point, shape)))
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
        fooled = misclassified(point)
        reached = ball.length(point - origin)
        closer = tf.logical_and(fooled, tf.logical_and(reached < distance, distance > ball.eps))
        found = tf.where(closer[:, None], point, found)
        distance = tf.where(closer, reached, distance)
        point = tf.where(fooled[:, None], origin + BACKWARD * (point - origin), point)
        return count + 1, point, found, distance

    _, _, found, distance = tf.while_loop(
        lambda count, point, found, distance: tf.logical_and(count < steps, tf.reduce_any(distance > ball.eps)),
        iterate,
        (tf.constant(0), origin, origin, tf.fill(flat[:1], float("inf"))),
        parallel_iterations=1,
    )
    return tf.stop_gradient(tf.reshape(found, shape)), tf.stop_gradient(distance)
