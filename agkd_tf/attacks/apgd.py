"""Auto-PGD: projected gradient ascent with momentum, which halves its step size automatically.

Source: Croce and Hein, Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
Parameter-free Attacks, ICML 2020, algorithm 1; constants of the authors' released code.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import tensorflow as tf

from agkd_tf.attacks.attack import Attack, known, named_with
from agkd_tf.attacks.ball import Ball
from agkd_tf.attacks.crafting import Logits, logits_at
from agkd_tf.attacks.objectives import cross_entropy, margin, probability_margin
from agkd_tf.attacks.pgd import Clean
from agkd_tf.attacks.standing import while_standing
from agkd_tf.errors import InputError
from agkd_tf.logits import difference_of_logits_ratio, ranked_other_class, targeted_difference_of_logits_ratio
from agkd_tf.randomness import named_seed, variant_seed
from agkd_tf.settings import LARGEST, Range

ITERATIONS, TARGETS = 100, 9

MOMENTUM = 0.75  # weight of the plain gradient step in the next point
INCREASE_SHARE = 0.75  # the step size is halved unless a larger share of an interval's steps raised the objective


# The fewest classes that each ratio is defined for; with fewer, the margin is used instead.
CLASSES_NEEDED = {"dlr": 3, "targeted_dlr": 4}
UNTARGETED = {
    "cross_entropy": cross_entropy,
    "dlr": difference_of_logits_ratio,
    "margin": margin,
    "probability_margin": probability_margin,
}
NAMES = {
    "cross_entropy": "apgd-ce",
    "dlr": "apgd-dlr",
    "targeted_dlr": "apgd-t",
    "margin": "apgd-margin",
    "probability_margin": "apgd-pm",
}


@dataclasses.dataclass(frozen=True)
class APGD(Attack):
    """Auto-PGD from a random point on the boundary of the ball.

        APGD()                                # apgd-ce
        APGD("targeted_dlr", targets=4)       # apgd-t towards 4 classes

    Attributes:
        objective: cross_entropy; dlr, the difference of logits ratio; targeted_dlr; margin; or probability_margin, that
            of the softmax's probabilities. The ratios need at least 3 classes (targeted: 4); with fewer, the margin is
            used instead.
        steps: number of iterations.
        restarts: number of runs from different random starts, for objectives without a target.
        targets: number of runs of targeted_dlr; the k-th run approaches the wrong class that has the k-th largest logit
            on the clean image. At most the number of wrong classes is used.
        passes: forward passes that are averaged at each point; use more than one for networks with random layers.
        named: name to use instead of the one that follows from the settings.
    """

    objective: Annotated[
        Literal["cross_entropy", "dlr", "targeted_dlr", "margin", "probability_margin"], "Objective to ascend."
    ] = "cross_entropy"
    steps: Annotated[int, Range(0, LARGEST), "Number of iterations."] = ITERATIONS
    restarts: Annotated[int, Range(1, LARGEST), "Number of runs from different random starts."] = 1
    targets: Annotated[int, Range(1, LARGEST), "Wrong classes that targeted_dlr approaches, one per run."] = TARGETS
    passes: Annotated[int, Range(1, LARGEST), "Forward passes that are averaged at each point."] = 1
    named: Annotated[str | None, "Name to use instead of the one that follows from the settings."] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective == "targeted_dlr" and self.restarts > 1:
            raise InputError("`restarts` is for objectives without a target: give `targets` instead")
        if self.objective != "targeted_dlr" and self.targets != TARGETS:
            raise InputError('`targets` is for a targeted objective: give `objective="targeted_dlr"`')

    @property
    def name(self) -> str:
        """`apgd-ce`, `apgd-dlr`, `apgd-t` or `apgd-margin`, then the settings that differ from their defaults."""
        return self.named or named_with(NAMES[self.objective], self, "steps", "targets", "passes")

    @property
    def spelling(self) -> str:
        """The name, with the number of restarts."""
        return self.name + (f"x{self.restarts}" if self.restarts > 1 else "")

    @property
    def variants(self) -> int:
        """Number of runs: one per restart, or one per target."""
        return self.targets if self.objective == "targeted_dlr" else self.restarts

    def resolve(self, num_classes: int | None) -> tuple[Attack, ...]:
        if self.objective not in CLASSES_NEEDED:
            return (Clean(), self)
        runs = self.variants
        changed: dict = {"named": self.name}
        if self.objective == "targeted_dlr":
            runs = min(runs, known(num_classes) - 1)
            changed["targets"] = runs
        if known(num_classes) < CLASSES_NEEDED[self.objective]:
            changed |= {"objective": "margin", "restarts": runs, "targets": TARGETS}
        return (Clean(), dataclasses.replace(self, **changed))

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
        targets = labels
        if self.objective == "targeted_dlr":
            targets = ranked_other_class(logits(images), labels, variant + 1)

        def judge(adv: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            own, target = tf.gather(labels, rows), tf.gather(targets, rows)
            scores = [logits_at(logits, rows)(adv) for _ in range(self.passes)]
            seen = tf.argmax(tf.add_n(scores), axis=1, output_type=tf.int32)
            value = tf.add_n([self._value(each, own, target) for each in scores]) / self.passes
            return value, tf.not_equal(seen, own)

        start = ball.edge_per_example(indices, images.shape[1:], seed)
        adv, _ = auto_pgd(judge, images, ball=ball, steps=self.steps, start=start)
        return adv

    def _value(self, scores: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        if self.objective == "targeted_dlr":
            return targeted_difference_of_logits_ratio(scores, labels, targets)
        return UNTARGETED[self.objective](scores, labels)

    def settings(self, ball: Ball) -> dict:
        return {
            "name": self.name,
            "objective": self.objective,
            "eps": ball.eps,
            "norm": ball.norm,
            "steps": self.steps,
            "variants": self.variants,
            "passes": self.passes,
        }


class State(NamedTuple):
    """What one iteration passes to the next; every entry is per image."""

    clean: tf.Tensor
    adv: tf.Tensor
    previous: tf.Tensor
    gradient: tf.Tensor
    value: tf.Tensor
    best: tf.Tensor
    best_gradient: tf.Tensor
    best_value: tf.Tensor
    found: tf.Tensor
    fooled: tf.Tensor
    step_size: tf.Tensor
    increases: tf.Tensor
    checked_value: tf.Tensor
    halved: tf.Tensor


def checkpoints(steps: int) -> list[int]:
    """Returns, for each of `steps` iterations, the length of the interval that ends there, or 0 if none does."""
    lengths, interval, since = [0] * steps, max(int(0.22 * steps), 1), 0
    for step in range(steps):
        since += 1
        if since == interval:
            lengths[step], since = interval, 0
            interval = max(interval - max(int(0.03 * steps), 1), max(int(0.06 * steps), 1))
    return lengths


def auto_pgd(
    judge: Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
    clean: tf.Tensor,
    *,
    ball: Ball,
    steps: int,
    start: tf.Tensor,
    skipped: tf.Tensor | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> tuple[tf.Tensor, tf.Tensor]:
    """Runs Auto-PGD and returns (adversarial images, best values of the objective).

    x_{t+1} = P(x_t + 0.75 (P(x_t + s g) - x_t) + 0.25 (x_t - x_{t-1})), starting with step size s = 2 eps.
    At each checkpoint, an image's s is halved and its search returns to the best point so far if the
    objective rose in at most 75 % of the steps since the last checkpoint, or if s was not halved at that
    checkpoint and the best value has not improved since. An image that is fooled leaves the batch (`while_standing`).

    Args:
        judge: callable, (images [b, H, W, C], their rows in `clean`, int32 [b]) -> (objective float32 [b] to ascend,
            fooled bool [b]), where each entry depends on its own image only; fooled is True for a misclassified image.
        clean: float32 [B, H, W, C] within the bounds.
        ball: ball that the adversarial images stay in; its eps is a number.
        steps: number of iterations.
        start: float32 [B, H, W, C], the initial displacement.
        skipped: bool [B], images that are left at their start; None for none.
        bounds: least and greatest pixel value.

    Returns:
        float32 [B, H, W, C], the first point that fooled the network, or the best point if none did; and float32
        [B], the best values, which are never below the starting ones.
    """
    lengths = tf.constant(checkpoints(steps))

    def projected(adv: tf.Tensor, clean: tf.Tensor) -> tf.Tensor:
        return ball.project(adv, clean, bounds)

    def look(adv: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(adv)
            value, fooled = judge(adv, rows)
            total = tf.reduce_sum(value)
        return value, fooled, tape.gradient(total, adv, unconnected_gradients="zero")

    def iterate(count: tf.Tensor, rows: tf.Tensor, s: State) -> State:
        momentum = tf.where(count > 0, MOMENTUM, 1.0)
        step_size = _per_image(s.step_size)
        plain = projected(s.adv + ball.steepest(s.gradient, step_size), s.clean)
        adv = projected(s.adv + momentum * (plain - s.adv) + (1.0 - momentum) * (s.adv - s.previous), s.clean)
        value, fooled, gradient = look(adv, rows)
        better = value > s.best_value
        best, best_gradient = _where(better, adv, s.best), _where(better, gradient, s.best_gradient)
        best_value = tf.where(better, value, s.best_value)
        increases = s.increases + tf.cast(value > s.value, tf.int32)

        length = lengths[count]
        checked = length > 0
        oscillates = tf.cast(increases, tf.float32) <= INCREASE_SHARE * tf.cast(length, tf.float32)
        stalls = tf.logical_and(~s.halved, s.checked_value >= best_value)
        halve = tf.logical_and(checked, tf.logical_or(oscillates, stalls))
        return State(
            clean=s.clean,
            adv=_where(halve, best, adv),
            previous=s.adv,
            gradient=_where(halve, best_gradient, gradient),
            value=value,
            # What is returned is final from the first point on that fools the network, however long the batch runs.
            best=_where(s.fooled, s.best, best),
            best_gradient=best_gradient,
            best_value=tf.where(s.fooled, s.best_value, best_value),
            found=_where(s.fooled, s.found, adv),
            fooled=tf.logical_or(s.fooled, fooled),
            step_size=tf.where(halve, s.step_size / 2, s.step_size),
            increases=tf.where(checked, tf.zeros_like(increases), increases),
            checked_value=tf.where(checked, best_value, s.checked_value),
            halved=tf.where(checked, halve, s.halved),
        )

    adv = projected(clean + start, clean)
    value, fooled, gradient = look(adv, tf.range(tf.shape(clean)[0]))
    if skipped is not None:
        fooled = tf.logical_or(fooled, skipped)
    begin = State(
        clean=clean,
        adv=adv,
        previous=adv,
        gradient=gradient,
        value=value,
        best=adv,
        best_gradient=gradient,
        best_value=value,
        found=adv,
        fooled=fooled,
        step_size=tf.fill(tf.shape(value), tf.constant(2.0 * ball.eps)),
        increases=tf.zeros(tf.shape(value), tf.int32),
        checked_value=value,
        halved=tf.ones(tf.shape(value), tf.bool),
    )
    adv, best_value = while_standing(
        iterate,
        begin,
        steps=steps,
        done=lambda s: s.fooled,
        output=lambda s: (_where(s.fooled, s.found, s.best), s.best_value),
    )
    return tf.stop_gradient(adv), tf.stop_gradient(best_value)


def _per_image(values: tf.Tensor) -> tf.Tensor:
    return values[:, None, None, None]


def _where(condition: tf.Tensor, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.where(_per_image(condition), a, b)
