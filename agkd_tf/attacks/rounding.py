"""Adversaries of eight bits: what a PNG can hold, and what is shown to the network of it."""

import dataclasses

import numpy as np
import tensorflow as tf

from agkd_tf.attacks.attack import Attack
from agkd_tf.attacks.ball import Ball
from agkd_tf.attacks.crafting import Logits
from agkd_tf.attacks.pgd import Clean
from agkd_tf.attacks.sequence import AttackSequence
from agkd_tf.errors import InputError

BITS, LEVELS = 8, 255
# Of one of the 255 steps: what float32 may take from a whole number of them, some units in the last place at 1.
SLACK = 5e-5
PIXELS = np.arange(LEVELS + 1, dtype=np.float32) / np.float32(
    LEVELS
)  # a table: a compiled division may round otherwise


@dataclasses.dataclass(frozen=True)
class Rounded(Attack):
    """An attack whose every point is rounded to 8 bits before the network sees it.

    Gradients pass the rounding as if it were not there, so that the attack goes on from what the network sees of the
    rounded images, and stops at one that fools it. Rounded is towards the clean image, so that an image stays in the
    ball, of either norm. See `rounded`.

    Attributes:
        attack: the attack.
    """

    attack: Attack

    @property
    def name(self) -> str:
        """Keys the random numbers: the attack's."""
        return self.attack.name

    @property
    def spelling(self) -> str:
        """The attack's."""
        return self.attack.spelling

    def resolve(self, num_classes: int | None) -> tuple[Attack, ...]:
        return tuple(map(Rounded, self.attack.resolve(num_classes)))

    @property
    def stays_in_ball(self) -> bool:
        """Whether the attack's adversaries do."""
        return self.attack.stays_in_ball

    def check(self, ball: Ball) -> None:
        self.attack.check(ball)
        if self.attack != Clean():
            _check_levels(self.spelling, ball)

    @property
    def variants(self) -> int:
        """Runs of the attack."""
        return self.attack.variants

    @property
    def passes(self) -> int:
        """Forward passes that each look is the mean of."""
        return getattr(self.attack, "passes", 1)

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
        @tf.custom_gradient
        def seen(points: tf.Tensor) -> tuple:
            return towards(points, images), lambda gradient: gradient

        adv = self.attack.perturb(
            lambda points: logits(seen(points)),
            images,
            labels,
            ball=ball,
            indices=indices,
            seed=seed,
            variant=variant,
        )
        return towards(adv, images)

    def check_images(self, images: np.ndarray) -> None:
        if images.dtype == np.uint8:
            return
        levels = np.asarray(images, np.float32) * LEVELS
        if len(images) and np.max(np.abs(levels - np.round(levels))) > 1e-3:
            raise InputError("images must be uint8, or k / 255, for their adversaries to be rounded to 8 bits")

    def climbed(self, logits: Logits) -> tuple[Logits, bool] | None:
        return self.attack.climbed(logits)

    def settings(self, ball: Ball) -> dict:
        return {**self.attack.settings(ball), "rounded_to_bits": BITS}


def rounded(attack: AttackSequence) -> AttackSequence:
    """Returns an `AttackSequence` whose adversaries are images of 8 bits, k / 255 for whole k, where clean ones are.

    Args:
        attack: `agkd_tf.attacks.AttackSequence`.

    Raises:
        InputError: if eps is less than one step of 1/255, so that nothing would be left of the attack.
    """
    if any(part != Clean() for part in attack.attacks):
        _check_levels(attack.name, attack.ball)
    return dataclasses.replace(attack, attacks=tuple(map(Rounded, attack.attacks)))


def _check_levels(name: str, ball: Ball) -> None:
    if ball.eps and ball.eps * LEVELS + SLACK < 1:
        raise InputError(
            f"images of 8 bits have steps of 1/255, and {name} has none that is within eps: "
            f"`eps` must be at least 1/255. Received: {ball.eps:g}"
        )


def towards(points: tf.Tensor, clean: tf.Tensor) -> tf.Tensor:
    """Returns the images of 8 bits next to `points` on the way to `clean`, which is of 8 bits.

    Args:
        points, clean: float32 [B, H, W, C] in [0, 1].

    Returns:
        float32 [B, H, W, C], exactly k / 255 for whole k.
    """
    moved = (points - clean) * LEVELS
    steps = tf.sign(moved) * tf.floor(tf.abs(moved) + SLACK)
    return tf.gather(PIXELS, tf.cast(tf.clip_by_value(tf.round(clean * LEVELS) + steps, 0, LEVELS), tf.int32))
