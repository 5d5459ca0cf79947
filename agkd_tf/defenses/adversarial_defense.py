"""Base class of the defenses that train on adversarial images: it runs the training attack."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

import keras
import tensorflow as tf

from agkd_tf.attacks import PGD, Ball
from agkd_tf.defenses.defense import Defense
from agkd_tf.errors import InputError, check_eps
from agkd_tf.settings import LARGEST, Radius, Range, settings_of

# XLA's CPU backend runs convolutions inside a loop body slowly, so short attacks are unrolled there.
UNROLLED_STEPS = 10
# Setting of the defense -> field of its `PGD`.
FIELDS = {
    "attack_steps": "steps",
    "attack_step_size": "step_size",
    "random_start": "random_start",
    "start_radius": "start_radius",
    "start_stddev": "start_stddev",
    "clip_to_ball": "clip_to_ball",
}


class AdversarialDefense(Defense):
    """Base class of the defenses that attack the student while it trains.

    The attack runs the student in inference mode and does not change its BN statistics. Give the attack as a whole, or
    by its settings: `AdversarialTraining(student, attack=PGD(steps=7, step_size=2 / 255))` or `attack_steps=7,
    attack_step_size=2 / 255`. N-FGSM is one step of eps from a start in a ball of twice the radius, without
    projection: `PGD(steps=1, start_radius=16 / 255, clip_to_ball=False)` at an eps of 8 / 255.

    Args:
        student: as `Defense`.
        attack: `agkd_tf.attacks.PGD`, whose steps, step size, start and projection are used; its objective is the
            defense's own. None to use the settings below. With the default `step_share` of a quarter, the step size
            follows the rule of `attack_step_size` below: for one or two steps of eps / 4, give a `step_size`.
        **kwargs: as `Defense`.

    Attributes:
        attack: the `PGD`.

    Raises:
        InputError: for another kind of attack, or for one that is given both ways.
    """

    def __init__(
        self,
        student: keras.Model,
        *,
        attack: PGD | None = None,
        attack_steps: Annotated[int, Range(0, LARGEST), "Number of steps of the training attack."] = 10,
        attack_step_size: Annotated[
            Radius | None,
            "Step size of the training attack; if not given, eps for 1 or 2 steps and eps / 4 for more steps.",
        ] = None,
        random_start: Annotated[bool, "Start the training attack at a random point instead of at the image."] = True,
        start_radius: Annotated[
            Radius | None,
            "Radius of the ball that a uniform random start is drawn from, instead of a Gaussian one; eps if not "
            "given.",
        ] = None,
        start_stddev: Annotated[
            Radius | None, "Standard deviation of a Gaussian random start; the start is uniform if not given."
        ] = None,
        clip_to_ball: Annotated[bool, "Project each step of the training attack onto the ball."] = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(student, **kwargs)
        given = {
            "attack_steps": attack_steps,
            "attack_step_size": attack_step_size,
            "random_start": random_start,
            "start_radius": start_radius,
            "start_stddev": start_stddev,
            "clip_to_ball": clip_to_ball,
        }
        defaults = {name: settings_of(type(self))[name].default for name in given}
        if attack is None:
            if start_stddev == defaults["start_stddev"] and (start_radius is not None or not random_start):
                given["start_stddev"] = None  # nobody asked for it
            attack = self._attack_of(given)
        else:
            _check_attack(attack, [name for name, value in given.items() if value != defaults[name]])
        self.attack = self._with_step(attack)
        for name, field in FIELDS.items():
            setattr(self, name, getattr(self.attack, field))

    def _attack_of(self, given: dict[str, Any]) -> PGD:
        for name in ("attack_step_size", "start_radius", "start_stddev"):
            if given[name] is not None and self.norm == "linf":
                check_eps(name, given[name])
        return PGD(**{FIELDS[name]: value for name, value in given.items() if value is not None})

    def _with_step(self, attack: PGD) -> PGD:
        """Returns the attack with a step size: by default eps for 1 or 2 steps, and eps / 4 for more steps."""
        attack.check(self.ball)
        if attack.step_size is not None or not attack.steps:
            return attack
        usual = PGD().step_share
        share = attack.step_share
        if share == usual:
            share = 1.0 if attack.steps <= 2 else 0.25
        return dataclasses.replace(attack, step_size=share * self.eps, step_share=usual)

    def perturb(
        self,
        images: tf.Tensor,
        objective: Callable[[tf.Tensor], tf.Tensor],
        seed: tf.Tensor,
        *,
        eps: tf.Tensor | None = None,
        batches: int = 1,
    ) -> tf.Tensor:
        """Returns the adversarial images that the training attack makes of `images`.

        Args:
            images: float32 [B, H, W, C] in [0, 1].
            objective: callable, student's logits [B, n] -> float32 [B] or a scalar, to ascend.
            seed: int32 [2].
            eps: radius; a tensor that broadcasts against the images, or None for the defense's own.
            batches: number of batches that are concatenated in the images.

        Returns:
            float32 [B, H, W, C]. No gradient flows from it.
        """
        return self.ascend(images, lambda adv: objective(self.classifier.logits(adv)), seed, eps=eps, batches=batches)

    def ascend(
        self,
        images: tf.Tensor,
        objective: Callable[[tf.Tensor], tf.Tensor],
        seed: tf.Tensor,
        *,
        eps: tf.Tensor | None = None,
        batches: int = 1,
    ) -> tf.Tensor:
        """Returns the adversarial images that the training attack makes of `images`, as `perturb` does.

        Args:
            images, seed, eps, batches: as `perturb`.
            objective: callable, images [B, H, W, C] -> float32 [B] or a scalar, to ascend.
        """
        ball = self.ball if eps is None else Ball(self.norm, eps)
        return self.attack.craft(
            objective,
            images,
            ball=ball,
            seed=seed,
            batches=batches,
            unroll=self.use_xla and self.attack.steps <= UNROLLED_STEPS,
        )


def _check_attack(attack: Any, given: list[str]) -> None:
    if not isinstance(attack, PGD):
        raise InputError(f"`attack` must be a PGD, such as PGD(steps=7). Received: {attack!r}")
    if given:
        raise InputError(f"`attack` sets {FIELDS[given[0]]} already: leave out `{given[0]}`")
    attack.check_for_training()
    if attack.momentum is not None:
        raise InputError(f"`attack` in training can only set {', '.join(FIELDS.values())}. Received: {attack!r}")
