"""The base class of attacks: a complete set of settings, which can be called with any ball."""

import abc
import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from agkd_tf.attacks.ball import Ball, Norm
from agkd_tf.attacks.crafting import Logits, Stages, craft
from agkd_tf.errors import InputError
from agkd_tf.settings import check_settings


class Attack(abc.ABC):
    """Base class of the attacks, which are frozen dataclasses of their settings.

    adversarial = PGD(steps=20)(model, images, labels, eps=8 / 255, norm="l2")
    result = agkd_tf.evaluate(model, images, labels, attacks=[PGD(steps=20), AutoAttack()], eps=8 / 255)
    """

    def __post_init__(self) -> None:
        # Ignored by mypy: each subclass is a dataclass.
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        for name, value in check_settings(type(self), values).items():
            object.__setattr__(self, name, value)

    def __call__(
        self,
        model: Any,
        x: Any,
        y: Any,
        *,
        eps: float,
        norm: Norm = "linf",
        seed: int | tf.Tensor = 0,
        batch_size: int = 100,
    ) -> np.ndarray | tf.Tensor:
        """Returns one adversarial image per image: of several stages, the first that fools the model, or the last.

        Args:
            model: a `keras.Model`, attacked in inference mode; or a callable, float32 images [B, H, W, C] in [0, 1] ->
                float32 logits [B, n].
            x: images [N, H, W, C], uint8 or float in [0, 1]. A tensor is attacked as one batch in the current graph,
                so that this can be called within a `tf.function`; an array is attacked in batches.
            y: the true classes: integers [N]; for an array also one-hot rows.
            eps: radius of the ball, in units of images in [0, 1].
            norm: linf or l2.
            seed: integer; an image's random numbers depend on it and on the image's index in `x`.
            batch_size: images per step, for an array.

        Returns:
            float32 [N, H, W, C] in [0, 1]: a tensor if `x` is a tensor, else an array.

        Raises:
            InputError: for invalid settings, ball, images, labels or model.
        """
        ball = Ball(norm, eps)
        self.check(ball)
        return craft(self.stages, ball, model, x, y, seed=seed, batch_size=batch_size)

    @abc.abstractmethod
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
        """Returns the adversarial images of one run.

        Args:
            logits: callable, float32 images [B, H, W, C] in [0, 1] -> float32 logits [B, n].
            images: float32 [B, H, W, C] in [0, 1].
            labels: int32 [B].
            ball: ball that the perturbations stay in.
            indices: int32 [B], each example's index in the data set, which keys its random numbers.
            seed: int32 [2].
            variant: number of the run, in [0, variants): an integer or a tensor.

        Returns:
            float32 [B, H, W, C].
        """

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Name in records, which also keys the random numbers. It follows from all settings but `restarts`."""

    @property
    @abc.abstractmethod
    def variants(self) -> int:
        """Number of runs, from different starts or towards different classes, which attack each image in turn."""

    @property
    def spelling(self) -> str:
        """Full name, under which results are reported: `name` with what it leaves out, such as restarts."""
        return self.name

    def resolve(self, num_classes: int | None) -> tuple["Attack", ...]:
        """Returns the attacks, in order, that this one consists of for a classifier.

        Args:
            num_classes: number of classes; None if unknown.

        Raises:
            InputError: if the attack needs the number of classes and it is None.
        """
        return (self,)

    def stages(self, num_classes: int | None) -> Stages:
        """Returns the (attack, variant) pairs to run, in order; see `resolve`."""
        return [(attack, variant) for attack in self.resolve(num_classes) for variant in range(attack.variants)]

    @property
    def stays_in_ball(self) -> bool:
        """Whether all adversarial images lie in the ball, as required to measure an accuracy within it."""
        return True

    @property
    def minimum_norm(self) -> bool:
        """Whether the attack searches for the smallest perturbation; see `MinimumNormAttack`."""
        return False

    def check(self, ball: Ball) -> None:  # noqa: B027  most settings fit any ball
        """Checks the settings that depend on the ball.

        Raises:
            InputError: if they do not fit the ball.
        """
        pass  # AutoGraph, which runs in a user's `tf.function`, warns about a function that is only a docstring

    def check_images(self, images: np.ndarray) -> None:  # noqa: B027  most attacks take any images
        """Checks images before they are attacked: uint8, or float in [0, 1], [N, H, W, C].

        Raises:
            InputError: if the attack does not accept such images.
        """
        pass  # as above

    def climbed(self, logits: Logits) -> tuple[Logits, bool] | None:
        """Returns (network whose gradient the attack follows, whether it ascends the cross-entropy).

        Args:
            logits: callable, the attacked network: images -> logits.

        Returns:
            (callable, bool); None for an attack that follows no gradient.
        """
        return logits, getattr(self, "objective", None) == "cross_entropy"

    @abc.abstractmethod
    def settings(self, ball: Ball) -> dict:
        """Returns what a record of a result in a ball says about the attack, as a dict for JSON."""


def known(num_classes: int | None) -> int:
    """Returns the number of classes.

    Raises:
        InputError: if it is None.
    """
    if num_classes is None:
        raise InputError("this attack needs the number of classes: give `num_classes`")
    return num_classes


def named_with(base: str, attack: Attack, *names: str) -> str:
    """Returns `base` with those of the settings `names` that differ from their defaults: `apgd-ce(steps=50)`."""
    # Ignored by mypy: as in `Attack`.
    defaults = {field.name: field.default for field in dataclasses.fields(attack)}  # type: ignore[arg-type]
    changed = [f"{name}={getattr(attack, name)!r}" for name in names if getattr(attack, name) != defaults[name]]
    return f"{base}({','.join(changed)})" if changed else base
