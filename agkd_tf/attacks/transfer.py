"""Black-box attacks by transfer: crafted on a source network, then tried on the attacked one."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from agkd_tf.attacks.attack import Attack
from agkd_tf.attacks.ball import Ball
from agkd_tf.attacks.crafting import Logits
from agkd_tf.attacks.pgd import PGD, Clean
from agkd_tf.errors import InputError
from agkd_tf.models import Classifier, logits_of


@dataclasses.dataclass(frozen=True)
class TransferAttack(Attack):
    """Crafts adversarial images on a source network, to be shown to the attacked network.

        TransferAttack(other_model)                       # crafted by pgd-20
        TransferAttack(other_model, attack=APGD())

    Attributes:
        source: a `keras.Model` or a callable, float32 images [B, H, W, C] in [0, 1] -> float32 logits [B, n], with the
            same classes.
        attack: the attack on the source. The papers do not say which attack and which sources their black-box
            accuracies are from.
        source_digest: digest that identifies the source in a record.
        named: name to use instead of `transfer`, `transfer by apgd-ce` and so on.
    """

    source: Any
    attack: Attack = PGD()  # noqa: RUF009  frozen
    source_digest: str = ""
    named: str | None = None

    def __post_init__(self) -> None:
        logits_of(self.source)  # raises if it is not a network
        if not isinstance(self.attack, Attack):
            raise InputError(f"`attack` must be an attack, such as `PGD(steps=20)`. Received: {self.attack!r}")

    @property
    def name(self) -> str:
        """`transfer`, then the attack if it is not the default."""
        if self.named is not None:
            return self.named
        return "transfer" if self.attack == PGD() else f"transfer by {self.attack.spelling}"

    @property
    def variants(self) -> int:
        """Number of runs of the attack."""
        return self.attack.variants

    def resolve(self, num_classes: int | None) -> tuple[Attack, ...]:
        source = getattr(logits_of(self.source), "__self__", None)  # a callable does not say how many classes it has
        if isinstance(source, Classifier) and num_classes not in (None, source.num_classes):
            raise InputError(f"`source` has {source.num_classes} classes, the attacked network {num_classes}")
        attacks = self.attack.resolve(num_classes)
        attacking = [attack for attack in attacks if attack != Clean()]
        if len(attacking) > 1:
            raise InputError(
                f"`attack` of a transfer must be one attack, not several. Received: {self.attack.spelling}"
            )
        return (dataclasses.replace(self, attack=(attacking or attacks)[0], named=self.name),)

    @property
    def stays_in_ball(self) -> bool:
        """Whether all adversarial images of the attack lie in the ball."""
        return self.attack.stays_in_ball

    def check(self, ball: Ball) -> None:
        self.attack.check(ball)

    def check_images(self, images: np.ndarray) -> None:
        self.attack.check_images(images)

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
        source = logits_of(self.source)
        return self.attack.perturb(source, images, labels, ball=ball, indices=indices, seed=seed, variant=variant)

    def climbed(self, logits: Logits) -> tuple[Logits, bool] | None:
        return self.attack.climbed(logits_of(self.source))

    def settings(self, ball: Ball) -> dict:
        return {"name": self.name, "source_sha256": self.source_digest, "attack": self.attack.settings(ball)}
