"""MALT: a targeted attack whose targets are ordered by the distance to their boundaries in the linearised network.

Source: Melamed et al., MALT Powers Up Adversarial Attacks, NeurIPS 2024; its inner attack is here the targeted Auto-PGD
of AutoAttack.
"""

import dataclasses
from typing import Annotated

import tensorflow as tf

from agkd_tf.attacks.apgd import APGD, CLASSES_NEEDED, ITERATIONS, auto_pgd
from agkd_tf.attacks.attack import Attack, known, named_with
from agkd_tf.attacks.ball import Ball, Norm
from agkd_tf.attacks.crafting import Logits, logits_at
from agkd_tf.attacks.pgd import Clean
from agkd_tf.logits import mask_labels, targeted_difference_of_logits_ratio
from agkd_tf.randomness import named_seed, variant_seed
from agkd_tf.settings import LARGEST, Range

TARGETS, CANDIDATES = 9, 100


@dataclasses.dataclass(frozen=True)
class MALT(Attack):
    """Targeted Auto-PGD towards the classes whose boundaries are nearest in the linearised network.

    With fewer than 4 classes, the margin is ascended instead, from as many starts.

        MALT()                        # malt: up to nine targets
        MALT(targets=2, reach=4.0)    # at most two, and none that is more than four radii away

    Attributes:
        steps: number of iterations per target.
        targets: number of runs; the k-th run approaches the k-th nearest class. At most the number of wrong classes is
            used.
        reach: classes whose boundary is further away than this many radii of the ball, by the linearised network, are
            not approached; None approaches all.
        named: name to use instead of the one that follows from the settings.
    """

    steps: Annotated[int, Range(0, LARGEST), "Number of iterations per target."] = ITERATIONS
    targets: Annotated[int, Range(1, CANDIDATES), "Wrong classes to approach, one per run."] = TARGETS
    reach: Annotated[float | None, Range(0.0), "Radii within which a class is approached; all classes if None."] = None
    named: Annotated[str | None, "Name to use instead of the one that follows from the settings."] = None

    @property
    def name(self) -> str:
        """`malt`, then the settings that differ from their defaults."""
        return self.named or named_with("malt", self, "steps", "targets", "reach")

    @property
    def variants(self) -> int:
        """Number of runs, one per target."""
        return self.targets

    def resolve(self, num_classes: int | None) -> tuple[Attack, ...]:
        targets = min(self.targets, known(num_classes) - 1)
        if known(num_classes) < CLASSES_NEEDED["targeted_dlr"]:
            # As in AutoAttack, whose ratio needs more classes.
            return (Clean(), APGD("margin", steps=self.steps, restarts=targets, named=self.name))
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
        seed = variant_seed(named_seed(seed, self.name), variant)
        ordered, distances = nearest_classes(logits, images, labels, norm=ball.norm)
        targets = tf.gather(ordered, variant, axis=1)
        beyond = None
        if self.reach is not None:
            beyond = tf.gather(distances, variant, axis=1) > self.reach * ball.eps

        def judge(adv: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            own, scores = tf.gather(labels, rows), logits_at(logits, rows)(adv)
            value = targeted_difference_of_logits_ratio(scores, own, tf.gather(targets, rows))
            return value, tf.not_equal(tf.argmax(scores, axis=1, output_type=tf.int32), own)

        start = ball.edge_per_example(indices, images.shape[1:], seed)
        adv, _ = auto_pgd(judge, images, ball=ball, steps=self.steps, start=start, skipped=beyond)
        return adv

    def settings(self, ball: Ball) -> dict:
        reach = {} if self.reach is None else {"reach": self.reach}
        return {
            "name": self.name,
            "eps": ball.eps,
            "norm": ball.norm,
            "steps": self.steps,
            "variants": self.targets,
        } | reach


def nearest_classes(logits: Logits, images: tf.Tensor, labels: tf.Tensor, *, norm: Norm) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the wrong classes by increasing distance, int32 [B, m], and the distances, float32 [B, m].

    The distance of class k is (z_c - z_k) / ||grad (z_k - z_label)||_q, where c is the predicted class and q is the
    dual norm: 1 for l_inf, 2 for l_2. With more than 101 classes, only the 100 of the largest logits are considered,
    since each takes a forward and a backward pass.

    Args:
        logits: callable, float32 images [B, H, W, C] -> float32 logits [B, n].
        images: float32 [B, H, W, C].
        labels: int32 [B].
        norm: linf or l2.
    """
    scores = logits(images)
    candidates = tf.math.top_k(mask_labels(scores, labels), min(CANDIDATES, scores.shape[1] - 1)).indices

    def slope_to(rank: tf.Tensor) -> tf.Tensor:
        classes = candidates[:, rank]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            found = logits(images)
            gap = tf.gather(found, classes, batch_dims=1) - tf.gather(found, labels, batch_dims=1)
            total = tf.reduce_sum(gap)
        normal = tape.gradient(total, images, unconnected_gradients="zero")
        return tf.norm(tf.reshape(normal, [tf.shape(images)[0], -1]), ord=2 if norm == "l2" else 1, axis=1)

    # One class after the other: the gradients of all at once would need a hundred times the memory of the images.
    slopes = tf.map_fn(
        slope_to,
        tf.range(candidates.shape[1]),
        parallel_iterations=1,
        fn_output_signature=tf.TensorSpec([None], tf.float32),
    )
    slope = tf.transpose(slopes)
    behind = tf.reduce_max(scores, axis=1, keepdims=True) - tf.gather(scores, candidates, batch_dims=1)
    distances = behind / tf.maximum(slope, 1e-12)
    order = tf.argsort(distances, axis=1, stable=True)
    return tf.gather(candidates, order, batch_dims=1), tf.gather(distances, order, batch_dims=1)
