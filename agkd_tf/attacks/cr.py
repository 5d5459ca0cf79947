"""CR: a targeted attack that relaxes the ball and shrinks it again, in cycles of decreasing size.

Source: the "CR attack" of the FastAT benchmark's released code, with its constants.
"""

import dataclasses
import math
from typing import Annotated

import tensorflow as tf

from agkd_tf.attacks.attack import Attack, known, named_with
from agkd_tf.attacks.ball import Ball
from agkd_tf.attacks.crafting import Logits, logits_at
from agkd_tf.attacks.pgd import PGD, Clean
from agkd_tf.attacks.standing import while_standing
from agkd_tf.logits import ranked_other_class
from agkd_tf.randomness import fold_in, named_seed, variant_seed
from agkd_tf.settings import LARGEST, Range

FIRST = PGD(steps=10, step_share=0.5, named="cr-first")
CYCLES, CYCLE, THIRD = 5, 30, 10
SMALLEST = 0.05  # least relaxation, as a share of eps; also the margin below which an image gets further runs
FURTHER = 4


@dataclasses.dataclass(frozen=True)
class CR(Attack):
    """PGD, then steps towards the classes of the largest logits that it found, in balls that relax and shrink.

    A cycle has 30 steps of length s eps, with s = 1/2, 1/4, 1/8, ... and at least 0.05. Its first 10 stay in the ball
    of radius (1 + s) eps, and their projections onto the ball itself are tried; the next 10 stay in the ball. An image
    whose margin z_label - z_target is above s then gives up this target. The others are moved into the ball of radius
    (1 - s) eps, with noise of size s eps added, and make 10 more steps in the ball. After five cycles, an image whose
    margin came below 0.05 begins again, up to four times.

    Attributes:
        targets: number of classes that are approached; ceil(ln n) of n classes if None.
        cycles: number of cycles of a run.
        further: largest number of further runs.
        named: name to use instead of the one that follows from the settings.
    """

    targets: Annotated[int | None, Range(1, LARGEST), "Classes to approach; ceil(ln n) of n classes if None."] = None
    cycles: Annotated[int, Range(1, 100), "Cycles of a run."] = CYCLES
    further: Annotated[int, Range(0, 100), "Further runs of images that came close."] = FURTHER
    named: Annotated[str | None, "Name to use instead of the one that follows from the settings."] = None

    @property
    def name(self) -> str:
        """`cr`, then the settings that differ from their defaults."""
        return self.named or named_with("cr", self, "targets", "cycles", "further")

    @property
    def variants(self) -> int:
        """Number of runs, one per target."""
        return self.targets or 1

    def resolve(self, num_classes: int | None) -> tuple[Attack, ...]:
        classes = known(num_classes)
        targets = min(self.targets or math.ceil(math.log(classes)), classes - 1)
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
        first = FIRST.perturb(logits, images, labels, ball=ball, indices=indices, seed=seed)
        targets = ranked_other_class(logits(first), labels, variant + 1)
        seed, steps = variant_seed(named_seed(seed, self.name), variant), self.cycles * CYCLE

        def noise(rows: tf.Tensor, count: tf.Tensor, size: tf.Tensor | float) -> tf.Tensor:
            own = Ball(ball.norm, tf.reshape(tf.cast(size, tf.float32), [1, 1, 1, 1]))
            return own.sample_per_example(tf.gather(indices, rows), images.shape[1:], fold_in(seed, count))

        def within(share: tf.Tensor, adv: tf.Tensor, clean: tf.Tensor) -> tf.Tensor:
            return Ball(ball.norm, tf.reshape(share * ball.eps, [1, 1, 1, 1])).project(adv, clean)

        def look(adv: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            scores, own = logits_at(logits, rows)(adv), tf.gather(labels, rows)
            true, target = (tf.gather(scores, each, batch_dims=1) for each in (own, tf.gather(targets, rows)))
            return true - target, tf.not_equal(tf.argmax(scores, axis=1, output_type=tf.int32), own)

        def run(count: tf.Tensor, rows: tf.Tensor, state: tuple) -> tuple:
            clean, adv, found, fooled, idle, least = state
            step = count % steps
            relaxed = tf.maximum(SMALLEST, 0.5 ** tf.cast(1 + step // CYCLE, tf.float32))
            # A further run is only for images that came close.
            idle = tf.logical_and(idle, step > 0)
            adv = tf.cond(step == 0, lambda: ball.project(clean + noise(rows, count, ball.eps), clean), lambda: adv)
            adv = tf.cond(
                step % CYCLE == 2 * THIRD,
                lambda: ball.project(within(1 - relaxed, adv, clean) + noise(rows, count, relaxed * ball.eps), clean),
                lambda: adv,
            )
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(adv)
                margin, _ = look(adv, rows)
                total = -tf.reduce_sum(margin)
            gradient = tape.gradient(total, adv, unconnected_gradients="zero")
            share = tf.where(step % CYCLE < THIRD, 1 + relaxed, 1.0)
            moved = within(share, adv + ball.steepest(gradient, relaxed * ball.eps), clean)
            tried = ball.project(moved, clean)
            margin, fools = look(tried, rows)
            fools = tf.logical_and(fools, ~idle)
            least = tf.minimum(least, tf.where(idle, least, margin))
            found = tf.where(tf.logical_and(fools, ~fooled)[:, None, None, None], tried, found)
            gives_up = tf.logical_and(step % CYCLE == 2 * THIRD - 1, margin > relaxed)
            ends = tf.logical_and(step == steps - 1, least > SMALLEST)
            return clean, moved, found, tf.logical_or(fooled, fools), idle | gives_up | ends, least

        def done(state: tuple) -> tf.Tensor:
            _, _, _, fooled, idle, least = state
            # An image that gave up returns for the next run if it had come close.
            return fooled | (idle & (least > SMALLEST))

        never = tf.zeros(tf.shape(labels), tf.bool)
        far = tf.fill(tf.shape(labels), float("inf"))
        return tf.stop_gradient(
            while_standing(
                run,
                (images, images, first, never, never, far),
                steps=(1 + self.further) * steps,
                done=done,
                output=lambda state: state[2],
            )
        )

    def settings(self, ball: Ball) -> dict:
        return {"name": self.name, "eps": ball.eps, "norm": ball.norm, "variants": self.variants} | {
            name: getattr(self, name) for name in ("cycles", "further")
        }
