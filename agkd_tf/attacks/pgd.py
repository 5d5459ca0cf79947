"""Projected gradient ascent: FGSM, BIM, PGD, CW, MIM and N-FGSM are settings of a single loop.

The step and the projection are cleverhans' (see `Ball`). The loop is our own, because cleverhans unrolls it in Python
and draws its start from a stateful generator that XLA does not seed.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, Literal

import tensorflow as tf

from agkd_tf.attacks.attack import Attack
from agkd_tf.attacks.ball import Ball, batch_draw
from agkd_tf.attacks.crafting import Logits
from agkd_tf.attacks.objectives import OBJECTIVES, TARGETED
from agkd_tf.attacks.targets import random_other_class_per_example
from agkd_tf.errors import InputError, check_eps
from agkd_tf.logits import most_confusing_class, ranked_other_class
from agkd_tf.perturbation_size import format_size
from agkd_tf.randomness import named_seed, normal, normal_per_example, variant_seed
from agkd_tf.settings import LARGEST, Range, Size

Objective = Callable[[tf.Tensor], tf.Tensor]
SHARE = 0.25  # length of a step as a share of eps: the published 2/255 of PGD and CW at eps 8/255
SIZES = ("step_size", "start_radius", "start_stddev")
# Name -> the class that a targeted attack approaches, from the logits of the clean image.
TARGETS = {
    "mc": lambda logits, labels, indices, seed: most_confusing_class(logits, labels),
    "least": lambda logits, labels, indices, seed: ranked_other_class(logits, labels, logits.shape[1] - 1),
    "random": lambda logits, labels, indices, seed: random_other_class_per_example(
        labels, logits.shape[1], indices, seed
    ),
}


@dataclasses.dataclass(frozen=True)
class PGD(Attack):
    """Projected gradient ascent on a loss; the last iterate is the adversarial image.

        x_0 = P(x + start);  x_{t+1} = P(x_t + step_size * d_t)

    Here d_t is the steepest direction (for l_inf the sign) of the gradient g_t or, with `momentum`, of
    v_t = momentum * v_{t-1} + g_t / mean|g_t|, and P is the projection onto the ball and [0, 1]. All sizes are in units
    of images in [0, 1].

        PGD(steps=20)                                                                # pgd-20
        PGD(steps=20, restarts=5, target="mc")                                       # pgd-20x5@mc
        PGD(steps=1, step_size=eps, start_radius=2 * eps, clip_to_ball=False)        # N-FGSM

    Without `step_size`, a step is `step_share` times eps, by default a quarter of eps, whatever the number of steps:
    PGD-1 takes one step of eps / 4, FGSM (`step_share=1.0`) one of eps. Training attacks have another default: see
    `AdversarialDefense`.

    Attributes:
        steps: number of gradient steps; with 0 steps and no random start, images stay clean.
        step_size: length of a step; None for `step_share` times eps.
        step_share: length of a step as a share of eps, used if `step_size` is None.
        objective: what is ascended, a name of `OBJECTIVES`: cross_entropy; or margin, which turns PGD-K into CW-K.
        random_start: whether to begin at a random point, by default drawn uniformly from the ball, instead of at the
            image.
        start_radius: radius of the ball, in the attack's norm, that a random start is drawn from; None for eps.
        start_stddev: standard deviation of a Gaussian start; None for a uniform start.
        clip_to_ball: whether points are projected onto the ball. If False, they are only clipped to [0, 1], and an
            adversarial image may lie outside the ball; this is for training, not to measure an accuracy within it.
        momentum: decay of the accumulated gradient; None for no momentum.
        target: class that the objective's targeted form approaches: mc, the most confusing class; least, the one with
            the smallest logit; random, any wrong class. None for an untargeted attack.
        restarts: number of runs from different random starts.
        named: name to use instead of the one that follows from the settings.

    Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, 2018; momentum: Dong et al.,
    Boosting Adversarial Attacks with Momentum, CVPR 2018; without clipping: de Jorge et al., Make Some Noise: Reliable
    and Efficient Single-Step Adversarial Training, NeurIPS 2022.
    """

    steps: Annotated[int, Range(0, LARGEST), "Number of gradient steps."] = 20
    step_size: Annotated[float | None, Size(bounded=False), "Length of a step."] = None
    step_share: Annotated[float, Range(0.0), "Length of a step as a share of eps, if step_size is not given."] = SHARE
    objective: Annotated[Literal["cross_entropy", "margin"], "Objective to ascend."] = "cross_entropy"
    random_start: Annotated[bool, "Begin at a random point of the ball."] = True
    start_radius: Annotated[float | None, Size(bounded=False), "Radius of the ball of random starts."] = None
    start_stddev: Annotated[float | None, Size(bounded=False), "Standard deviation of a Gaussian start."] = None
    clip_to_ball: Annotated[bool, "Project every point onto the ball."] = True
    momentum: Annotated[float | None, Range(0.0), "Decay of the accumulated gradient."] = None
    target: Annotated[Literal["mc", "least", "random"] | None, "Class that a targeted attack approaches."] = None
    restarts: Annotated[int, Range(1, LARGEST), "Number of runs from different random starts."] = 1
    named: Annotated[str | None, "Name to use instead of the one that follows from the settings."] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.step_size is not None and self.step_share != SHARE:
            raise InputError("`step_size` and `step_share` both set the length of a step: leave one of them out")
        for name in ("start_radius", "start_stddev"):
            if not self.random_start and getattr(self, name) is not None:
                raise InputError(f"`{name}` needs a random start: give `random_start=True`, or leave `{name}` out")
        if self.start_radius is not None and self.start_stddev is not None:
            raise InputError("`start_radius` is for a uniform start, `start_stddev` for a Gaussian one: leave one out")
        if self.restarts > 1 and not self.random_start:
            raise InputError("`restarts` needs a random start, or all runs would be the same: give `random_start=True`")
        if not self.steps:
            for name in ("step_size", "momentum", "target"):
                if getattr(self, name) is not None:
                    raise InputError(f"`{name}` needs steps: `steps` must be at least 1. Received: 0")

    @property
    def name(self) -> str:
        """`pgd-20`, `pgd-20~1/255@mc` and so on, as on the command line, then other settings in parentheses."""
        return self._name("")

    @property
    def spelling(self) -> str:
        """The name, with the number of restarts."""
        return self._name(f"x{self.restarts}" if self.restarts > 1 else "")

    def _name(self, restarts: str) -> str:
        if self.named is not None:
            return self.named + restarts
        kind, usual = self._kind()
        name = kind if kind in ("clean", "fgsm", "fgsm-rs") else f"{kind}-{self.steps}"
        name += "" if self.step_size is None else f"~{format_size(self.step_size)}"
        name += restarts + ("" if self.target is None else f"@{self.target}")
        rest = {"step_share": SHARE, "start_radius": None, "start_stddev": None, "clip_to_ball": True, "momentum": None}
        changed = []
        for setting, value in (rest | usual).items():
            own = getattr(self, setting)
            if own != value:
                changed.append(f"{setting}={format_size(own) if setting in SIZES else repr(own)}")
        return f"{name}({','.join(changed)})" if changed else name

    def _kind(self) -> tuple[str, dict[str, Any]]:
        """Returns the name of the published attack that this is or comes closest to, and that one's usual settings."""
        if not self.steps and not self.random_start:
            return "clean", {"step_share": self.step_share}
        if self.objective == "margin":
            return "cw", {"random_start": True}
        if self.momentum is not None:
            return "mim", {"random_start": False, "momentum": 1.0}
        if (self.steps, self.step_share) == (1, 1.0):
            return ("fgsm-rs" if self.random_start else "fgsm"), {"step_share": 1.0}
        return ("pgd" if self.random_start else "bim"), {}

    @property
    def variants(self) -> int:
        """Number of runs from different random starts."""
        return self.restarts

    @property
    def stays_in_ball(self) -> bool:
        """Whether points are projected onto the ball."""
        return self.clip_to_ball

    def check(self, ball: Ball) -> None:
        if ball.norm == "linf":
            for name in SIZES:
                value = getattr(self, name)
                if value is not None:
                    check_eps(name, value)

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
        start = None
        if self.random_start:
            shape = images.shape[1:]
            if self.start_stddev is None:
                start = self._start_ball(ball).sample_per_example(indices, shape, seed)
            else:
                start = self.start_stddev * normal_per_example(indices, shape, seed)
        score, classes = OBJECTIVES[self.objective], labels
        if self.target is not None:
            score = TARGETED[self.objective]
            classes = TARGETS[self.target](logits(images), labels, indices, named_seed(seed, "target"))
        return self.ascend(lambda adv: score(logits(adv), classes), images, ball=ball, start=start)

    def craft(
        self,
        objective: Objective,
        images: tf.Tensor,
        *,
        ball: Ball,
        seed: tf.Tensor,
        batches: int = 1,
        unroll: bool = False,
    ) -> tf.Tensor:
        """Returns the adversarial images of a training batch, which ascend the defense's own objective.

        The random start is drawn from the step's seed. With several replicas, each gets its part of what a single
        replica with the whole batch would draw.

        Args:
            objective: callable, images [B, H, W, C] -> float32 [B] or a scalar, to ascend.
            images: float32 [B, H, W, C] in [0, 1].
            ball: its eps may be a tensor [B, 1, 1, 1]; without `step_size`, an image's step is a share of its own eps.
            seed: int32 [2], the seed of the training step.
            batches: number of batches that are concatenated in the images.
            unroll: as `ascend`.

        Returns:
            float32 [B, H, W, C]. No gradient flows from it.
        """
        start = None
        if self.random_start:
            shape, start_seed = tf.shape(images), named_seed(seed, "start")
            if self.start_stddev is None:
                start = self._start_ball(ball).sample(shape, start_seed, batches=batches)
            else:
                start = self.start_stddev * batch_draw(normal, shape, start_seed, batches)
        return self.ascend(objective, images, ball=ball, start=start, unroll=unroll)

    def ascend(
        self,
        objective: Objective,
        images: tf.Tensor,
        *,
        ball: Ball,
        start: tf.Tensor | None = None,
        unroll: bool = False,
    ) -> tf.Tensor:
        """Returns adversarial images that ascend an objective from a given start.

        Args:
            objective: callable, images [B, H, W, C] -> float32 [B], where each entry depends on its own image only.
            images: float32 [B, H, W, C] in [0, 1].
            ball: ball that the adversarial images stay in.
            start: float32 [B, H, W, C], the initial displacement; None to begin at the images.
            unroll: False keeps the graph small with a `tf.while_loop`; True repeats the step in the graph,
                which XLA's CPU backend runs much faster.

        Returns:
            float32 [B, H, W, C]. No gradient flows from it.
        """
        step_size, momentum = self.step_of(ball), self.momentum

        def project(adv: tf.Tensor) -> tf.Tensor:
            return ball.project(adv, images) if self.clip_to_ball else tf.clip_by_value(adv, 0.0, 1.0)

        def step(adv: tf.Tensor, velocity: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            direction = input_gradient(objective, adv)
            if momentum is not None:
                mean = tf.reduce_mean(tf.abs(direction), axis=[1, 2, 3], keepdims=True)
                direction = velocity = momentum * velocity + direction / tf.maximum(mean, 1e-12)
            return project(adv + ball.steepest(direction, step_size)), velocity

        adv = images if start is None else project(images + start)
        velocity = tf.zeros([]) if momentum is None else tf.zeros_like(images)
        if unroll:
            for _ in range(self.steps):
                adv, velocity = step(adv, velocity)
        elif self.steps:
            _, adv, _ = tf.while_loop(
                lambda count, *_: count < self.steps,
                lambda count, adv, velocity: (count + 1, *step(adv, velocity)),
                (tf.constant(0), adv, velocity),
                parallel_iterations=1,
            )
        return tf.stop_gradient(adv)

    def step_of(self, ball: Ball) -> float | tf.Tensor:
        """Returns the length of a step in a ball."""
        return self.step_share * ball.eps if self.step_size is None else self.step_size

    def _start_ball(self, ball: Ball) -> Ball:
        return ball if self.start_radius is None else Ball(ball.norm, self.start_radius)

    def check_for_training(self) -> None:
        """Checks that no setting is given that a training attack lacks, since a defense ascends its own objective.

        Raises:
            InputError: if one is.
        """
        for name in ("objective", "target", "restarts", "named"):
            if getattr(self, name) != getattr(PGD, name):
                raise InputError(
                    f"`{name}` is for evaluation; in training a defense ascends its own objective: leave `{name}` out. "
                    f"Received: {getattr(self, name)!r}"
                )

    def climbed(self, logits: Logits) -> tuple[Logits, bool] | None:
        return super().climbed(logits) if self.steps else None

    def settings(self, ball: Ball) -> dict:
        if not self.steps and not self.random_start:
            return {}
        found = {
            "name": self.name,
            "objective": self.objective,
            "eps": ball.eps,
            "step_size": self.step_of(ball),
            "steps": self.steps,
            "random_start": self.random_start,
            "norm": ball.norm,
            "momentum": self.momentum,
            "target": self.target,
            "variants": self.restarts,
        }
        # Older records lack these settings, so they are recorded only where they are not at their defaults.
        more = {"start_radius": None, "start_stddev": None, "clip_to_ball": True}
        return found | {name: getattr(self, name) for name, usual in more.items() if getattr(self, name) != usual}


def Clean() -> PGD:  # noqa: N802  it makes an attack, as the classes do
    """Returns the attack that leaves images as they are."""
    return PGD(steps=0, random_start=False)


def FGSM(*, random_start: bool = False, **settings: Any) -> PGD:  # noqa: N802
    """Returns the fast gradient sign method: one step of eps; FGSM-RS with `random_start`.

    Args:
        random_start: whether to begin at a random point of the ball.
        **settings: as `PGD`.

    Source: Goodfellow et al., Explaining and Harnessing Adversarial Examples, ICLR 2015; random start: Wong et al.,
    Fast is better than free, ICLR 2020.
    """
    share = {} if settings.get("step_size") is not None else {"step_share": 1.0}
    return PGD(**{"steps": 1, "random_start": random_start} | share | settings)


def BIM(steps: int = 10, **settings: Any) -> PGD:  # noqa: N802
    """Returns the basic iterative method: PGD from the image itself.

    Args:
        steps: number of gradient steps.
        **settings: as `PGD`.

    Source: Kurakin et al., Adversarial Examples in the Physical World, 2017.
    """
    return PGD(steps, **{"random_start": False} | settings)


def CW(steps: int = 20, **settings: Any) -> PGD:  # noqa: N802
    """Returns PGD on the margin of Carlini and Wagner, as Madry et al. use it.

    Args:
        steps: number of gradient steps.
        **settings: as `PGD`.

    Source: see `agkd_tf.attacks.objectives.margin`.
    """
    return PGD(steps, **{"objective": "margin"} | settings)


def MIM(steps: int = 10, **settings: Any) -> PGD:  # noqa: N802
    """Returns the momentum iterative method: PGD from the image itself, with a momentum decay of 1.

    Args:
        steps: number of gradient steps.
        **settings: as `PGD`.

    Source: Dong et al., Boosting Adversarial Attacks with Momentum, CVPR 2018.
    """
    return PGD(steps, **{"random_start": False, "momentum": 1.0} | settings)


def input_gradient(objective: Objective, images: tf.Tensor) -> tf.Tensor:
    """Returns d sum(objective(images)) / d images, float32 [B, H, W, C]; zeros if the objective ignores the images.

    Args:
        objective: callable, images -> float32 [B].
        images: float32 [B, H, W, C].
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        value = tf.reduce_sum(objective(images))
    return tape.gradient(value, images, unconnected_gradients="zero")
