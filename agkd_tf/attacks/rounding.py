"""Adversarial images with 8 bits per channel, which a PNG file stores exactly as the network sees them."""

import dataclasses

import numpy as np
import tensorflow as tf

from agkd_tf.attacks.attack import Attack
from agkd_tf.attacks.ball import Ball
from agkd_tf.attacks.crafting import Logits, PlacedLogits
from agkd_tf.attacks.pgd import Clean
from agkd_tf.attacks.sequence import AttackSequence
from agkd_tf.errors import InputError

BITS, LEVELS = 8, 255
# In steps of 1/255: what float32 rounding may take from a whole number of steps, a few units in the last place at 1.
SLACK = 5e-5
PIXELS = np.arange(LEVELS + 1, dtype=np.float32) / np.float32(
    LEVELS
)  # a table, since a compiled division may round differently


@dataclasses.dataclass(frozen=True)
class Rounded(Attack):
    """An attack whose every point is rounded to 8 bits before the network sees it.

    Gradients pass the rounding as if it were not there, so that the attack follows what the network makes of the
    rounded images, and stops at one that fools it. Points are rounded towards the clean image, so that images stay in
    the ball of either norm. See `rounded`.

    Attributes:
        attack: the attack.
    """

    attack: Attack

    @property
    def name(self) -> str:
        """The attack's name, which keys the random numbers."""
        return self.attack.name

    @property
    def spelling(self) -> str:
        """The attack's spelling."""
        return self.attack.spelling

    def resolve(self, num_classes: int | None) -> tuple[Attack, ...]:
        return tuple(map(Rounded, self.attack.resolve(num_classes)))

    @property
    def stays_in_ball(self) -> bool:
        """Whether all adversarial images of the attack lie in the ball."""
        return self.attack.stays_in_ball

    @property
    def minimum_norm(self) -> bool:
        """Whether the attack searches for the smallest perturbation."""
        return self.attack.minimum_norm

    def check(self, ball: Ball) -> None:
        self.attack.check(ball)
        if self.attack != Clean():
            _check_levels(self.spelling, ball)

    @property
    def variants(self) -> int:
        """Number of runs of the attack."""
        return self.attack.variants

    @property
    def passes(self) -> int:
        """Forward passes that are averaged at each point."""
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
        def rounded_logits(points: tf.Tensor, rows: tf.Tensor | None) -> tf.Tensor:
            clean = images if rows is None else tf.gather(images, rows)

            @tf.custom_gradient
            def seen(points: tf.Tensor) -> tuple:
                return towards(points, clean), lambda gradient: gradient

            return logits(seen(points))

        adv = self.attack.perturb(
            PlacedLogits(rounded_logits),
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
            raise InputError("to round adversarial images to 8 bits, images must be uint8, or k / 255 with whole k")

    def climbed(self, logits: Logits) -> tuple[Logits, bool] | None:
        return self.attack.climbed(logits)

    def settings(self, ball: Ball) -> dict:
        return {**self.attack.settings(ball), "rounded_to_bits": BITS}


def rounded(attack: AttackSequence) -> AttackSequence:
    """Returns an `AttackSequence` whose adversarial images have 8 bits: pixels k / 255 with whole k.

    The clean images must have 8 bits, too.

    Args:
        attack: `agkd_tf.attacks.AttackSequence`.

    Raises:
        InputError: if eps is less than one step of 1/255, so that nothing would be left of a perturbation.
    """
    if any(part != Clean() for part in attack.attacks):
        _check_levels(attack.name, attack.ball)
    return dataclasses.replace(attack, attacks=tuple(map(Rounded, attack.attacks)))


def _check_levels(name: str, ball: Ball) -> None:
    if ball.eps and ball.eps * LEVELS + SLACK < 1:
        raise InputError(
            f"images of 8 bits change in steps of 1/255, and {name} cannot take one within eps: "
            f"`eps` must be at least 1/255. Received: {ball.eps:g}"
        )


def towards(points: tf.Tensor, clean: tf.Tensor) -> tf.Tensor:
    """Returns `points` rounded to 8 bits towards `clean`.

    Args:
        points: float32 [B, H, W, C] in [0, 1].
        clean: float32 [B, H, W, C] in [0, 1], of 8 bits.

    Returns:
        float32 [B, H, W, C], exactly k / 255 with whole k.
    """
    moved = (points - clean) * LEVELS
    steps = tf.sign(moved) * tf.floor(tf.abs(moved) + SLACK)
    return tf.gather(PIXELS, tf.cast(tf.clip_by_value(tf.round(clean * LEVELS) + steps, 0, LEVELS), tf.int32))
