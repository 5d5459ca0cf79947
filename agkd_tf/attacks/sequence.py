"""A sequence of attacks bound to a ball, which is what an evaluation runs."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from agkd_tf.attacks.attack import Attack
from agkd_tf.attacks.ball import Ball
from agkd_tf.attacks.crafting import Logits, Stages, craft, first_that_fools
from agkd_tf.attacks.pgd import Clean
from agkd_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class AttackSequence:
    """One or more attacks in order, within a ball; an image is robust if none of them fools the classifier.

    Attributes:
        name: name on the command line, or the attack's own spelling.
        attacks: the attacks in order, each with its own name.
        ball: ball that all adversarial images stay in.

    Raises:
        InputError: if two different attacks have the same name.
    """

    name: str
    attacks: tuple[Attack, ...]
    ball: Ball

    def __post_init__(self) -> None:
        check_names(f"attacks of {self.name}", self.attacks)

    @property
    def stages(self) -> Stages:
        """The (attack, variant) pairs to run, in order."""
        return [(attack, variant) for attack in self.attacks for variant in range(attack.variants)]

    @property
    def minimum_norm(self) -> bool:
        """Whether this is one attack that searches for the smallest perturbation, after the clean images."""
        *before, last = self.attacks
        # Images of 8 bits have a wrapped `Clean`.
        return last.minimum_norm and [getattr(each, "attack", each) for each in before] == [Clean()]

    def __call__(
        self, model: Any, x: Any, y: Any, *, seed: int | tf.Tensor = 0, batch_size: int = 100
    ) -> np.ndarray | tf.Tensor:
        """Returns, per image, the result of the first stage that fools the model, or of the last stage.

        See `Attack.__call__`.
        """
        return craft(lambda num_classes: self.stages, self.ball, model, x, y, seed=seed, batch_size=batch_size)

    def perturb(
        self, logits: Logits, images: tf.Tensor, labels: tf.Tensor, *, indices: tf.Tensor, seed: tf.Tensor
    ) -> tf.Tensor:
        """Returns the adversarial images of one batch, float32 [B, H, W, C]; see `Attack.perturb`."""
        return first_that_fools(self.stages, logits, images, labels, self.ball, indices, seed)

    def settings(self) -> list[dict]:
        """Returns the attacks' settings, for JSON."""
        return [attack.settings(self.ball) for attack in self.attacks]


def check_names(whose: str, attacks: Iterable[Attack | AttackSequence]) -> None:
    """Checks that no two different attacks have the same name, under which their results would be mixed up.

    Args:
        whose: beginning of the error message.
        attacks: attacks or sequences.

    Raises:
        InputError: if two have the same name.
    """
    seen: dict[str, Attack | AttackSequence] = {}
    for attack in attacks:
        if seen.setdefault(attack.name, attack) != attack:
            raise InputError(
                f"{whose}: two different attacks are called {attack.name!r}: give one another name, `named=...`"
            )
