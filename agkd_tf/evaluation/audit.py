"""The known signs of masked gradients: reasons to distrust an accuracy under gradient attacks.

Source: Athalye et al., Obfuscated Gradients Give a False Sense of Security, ICML 2018, section 3; Carlini
et al., On Evaluating Adversarial Robustness, 2019; Croce and Hein, ICML 2020 (the flags of AutoAttack).
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from agkd_tf.attacks import PGD, AttackSequence, Ball, Norm, SquareAttack, TransferAttack, bound, parse_attack
from agkd_tf.data import Examples
from agkd_tf.data.pixels import as_float
from agkd_tf.evaluation.checks import random_difference, zero_gradients
from agkd_tf.evaluation.outcome import Outcome
from agkd_tf.evaluation.result import AttackResult, html_table
from agkd_tf.evaluation.run_attack import run_attack
from agkd_tf.models import logits_of
from agkd_tf.perturbation_size import format_size
from agkd_tf.types import Logits

STEPS = 20
SQUARE_QUERIES = 1000
SWEEP = (0.5, 1.0, 2.0, 4.0)  # times eps
# By how much accuracy two attacks may differ in the wrong direction before a sign is raised; at least `IMAGES`
# images, so that a single image in a small sample raises nothing.
TOLERANCE, SQUARE_TOLERANCE, GAP_TOLERANCE, LEFT_OVER, ZERO_SHARE = 0.005, 0.002, 0.05, 0.01, 0.01
IMAGES = 2


@dataclasses.dataclass(frozen=True)
class Sign:
    """One sign of masked gradients.

    Attributes:
        name: short name.
        raised: whether the sign was found.
        evidence: the numbers behind the decision, as text.
        raised_if, meaning, remedy: what raises the sign, what it means for the model, what to do about it.
    """

    name: str
    raised: bool
    evidence: str
    raised_if: str
    meaning: str
    remedy: str


@dataclasses.dataclass(frozen=True)
class Audit:
    """The signs of masked gradients, raised or not. It prints as a list with the reasons and what to do.

    Attributes:
        signs: a `Sign` for each of `SIGNS`; the sign about transfer is there only if a source was given.
        num_examples: number of images that were examined.
        autoattack: whether AutoAttack's accuracy on the same images is recorded.
    """

    signs: tuple[Sign, ...]
    num_examples: int
    autoattack: bool = False

    @property
    def raised(self) -> tuple[Sign, ...]:
        """The signs that were raised."""
        return tuple(sign for sign in self.signs if sign.raised)

    @property
    def title(self) -> str:
        """The heading of the list."""
        return f"Signs of masked gradients, on {self.num_examples} images:"

    @property
    def conclusion(self) -> str:
        """How many signs were raised, and what that means."""
        end = f"{len(self.raised)} of {len(self.signs)} raised"
        if self.raised:
            return end
        # An attack may be too weak without raising any sign.
        end += ": no sign of masked gradients; trust the worst case that includes AutoAttack"
        return end + ("" if self.autoattack else ", which is not recorded yet: `attacks=['autoattack']`")

    def __str__(self) -> str:
        lines = [self.title]
        for sign in self.signs:
            lines.append(f"  {'RAISED' if sign.raised else 'ok':<6}  {sign.name}: {sign.evidence}")
            if sign.raised:
                details = {"raised if": sign.raised_if, "means": sign.meaning, "do": sign.remedy}
                lines += [f"          {f'{heading}:':<10} {text}" for heading, text in details.items()]
        return "\n".join([*lines, f"  {self.conclusion}"])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = [
            [sign.name, "RAISED" if sign.raised else "ok", sign.evidence, sign.remedy if sign.raised else ""]
            for sign in self.signs
        ]
        return html_table(f"{self.title} {self.conclusion}", ["sign", "", "evidence", "do"], rows)


# Name -> (raised if, meaning, remedy).
SIGNS = {
    "one step beats many": (
        "FGSM leaves fewer images correct than PGD-20",
        "gradients do not lead any further after the first step",
        "judge by autoattack, not by pgd",
    ),
    "black box beats white box": (
        "Square, which uses no gradients, breaks images that APGD-CE and APGD-DLR do not",
        "gradients hide adversaries that random search finds",
        "judge by autoattack's worst case",
    ),
    "transfer beats white box": (
        "adversaries crafted on another network leave fewer images correct than PGD-20 on this one",
        "gradients hide adversaries that this network shares with other networks",
        "judge by the worst case over both",
    ),
    "a boundless ball leaves images": (
        "PGD-20 may change images without limit and some are still classified correctly",
        "the attack fails; its accuracy means nothing at any eps",
        "look for operations without a gradient: rounding, sampling, clipping, saturated outputs",
    ),
    "zero gradients": (
        "the gradient of the cross-entropy is exactly zero for some images",
        "a saturated output or an operation without a gradient stops the attack before it begins",
        "judge by apgd-dlr, fab-t and square; scale the logits down",
    ),
    "cross-entropy misses what the ratio finds": (
        "APGD-CE leaves clearly more images correct than APGD-DLR, which ignores the scale of the logits",
        "outputs are saturated, and rounding wipes out the gradient of the cross-entropy",
        "judge by autoattack; do not compare with accuracies under PGD",
    ),
    "accuracy rises with eps": (
        "PGD-20 leaves more images correct in a larger ball than in a smaller one",
        "the attack gets lost; it does not find the worst point in the ball",
        "judge by autoattack, with more restarts",
    ),
    "random outputs": (
        "two passes over the same image give different logits",
        "a layer is random: the attack follows other gradients than those of the pass that is judged",
        "judge by autoattack-rand, whose attacks average over 20 passes",
    ),
}


def masked_gradient_signs(
    logits: keras.Model | Logits,
    examples: Examples,
    *,
    eps: float,
    norm: Norm = "linf",
    source: keras.Model | Logits | None = None,
    source_digest: str = "",
    batch_size: int = 100,
    seed: int = 0,
    jit_compile: bool = False,
    begin: Callable[[AttackSequence, np.ndarray], Outcome] | None = None,
    checkpoint: Callable[[], None] | None = None,
    progress: Callable | None = None,
) -> list[Sign]:
    """Looks for masked gradients in a classifier; returns a `Sign` for each of `SIGNS`, raised or not.

    Args:
        logits: a `keras.Model` or a callable, as for `run_attack`.
        examples: `Examples`; a few hundred are enough.
        eps: radius of the ball.
        norm: linf or l2.
        source: another network (`keras.Model` or callable) to craft transferred adversaries on; None to leave that
            sign out.
        source_digest: identifies the source in a record.
        batch_size, seed, jit_compile: as for `run_attack`.
        begin: callable (`AttackSequence`, labels of the attacked images) -> `Outcome` to continue and fill, such as
            `EvaluationRecord.begin`; None for fresh outcomes. Each attack has a name of its own.
        checkpoint: callable without arguments, called after each batch of an attack.
        progress: callable (attack's name, stage's part, variant, images done, images in total).
    """
    logits = logits_of(logits)
    num_classes = logits(as_float(tf.constant(examples.images[:1]))).shape[1]

    def result(attack: AttackSequence, examples: Examples = examples) -> AttackResult:
        return run_attack(
            logits,
            examples,
            attack,
            batch_size=batch_size,
            seed=seed,
            jit_compile=jit_compile,
            outcome=begin and begin(attack, examples.labels),
            checkpoint=checkpoint,
            progress=progress and functools.partial(progress, attack.name),
        )

    def named(name: str, radius: float = eps) -> AttackResult:
        attack = parse_attack(name, eps=radius, norm=norm, num_classes=num_classes)
        if radius != eps:
            attack = dataclasses.replace(attack, name=f"{name} at {format_size(radius)}")
        return result(attack)

    clean, fgsm, pgd = (named(name).accuracy for name in ("clean", "fgsm", f"pgd-{STEPS}"))
    white = [named(name) for name in ("apgd-ce", "apgd-dlr")]
    ce, dlr = (found.accuracy for found in white)
    left = examples.take(white[0].correct & white[1].correct)
    square = AttackSequence("square", (SquareAttack(SQUARE_QUERIES, named="square"),), Ball(norm, eps))
    by_square = np.count_nonzero(~result(square, left).correct) / len(examples) if len(left) else 0.0
    limit = 1.0 if norm == "linf" else math.sqrt(math.prod(examples.images.shape[1:]))
    boundless = named(f"pgd-{STEPS}", limit).accuracy
    sweep = [
        clean,
        *(pgd if times == 1 else named(f"pgd-{STEPS}", min(times * eps, limit)).accuracy for times in SWEEP),
    ]
    rise = max(after - before for before, after in itertools.pairwise(sweep))
    zero, unequal = _zero_gradients(logits, examples, batch_size), _random_outputs(logits, examples, batch_size)
    few = IMAGES / len(examples)

    def sign(name: str, raised: bool, evidence: str) -> Sign:
        return Sign(name, bool(raised), evidence, *SIGNS[name])

    curve = ", ".join(f"{100 * value:.1f}" for value in sweep)
    signs = [
        sign("one step beats many", pgd - fgsm >= max(TOLERANCE, few), f"FGSM {fgsm:.1%}, PGD-{STEPS} {pgd:.1%}"),
        sign(
            "black box beats white box",
            by_square >= max(SQUARE_TOLERANCE, few),
            f"Square breaks {by_square:.1%} more ({SQUARE_QUERIES} queries)",
        ),
        sign(
            "a boundless ball leaves images",
            boundless >= max(LEFT_OVER, few),
            f"PGD-{STEPS} at {norm} {limit:g}: {boundless:.1%}",
        ),
        sign("zero gradients", zero >= max(ZERO_SHARE, few), f"{zero:.1%} of the images"),
        sign(
            "cross-entropy misses what the ratio finds",
            ce - dlr >= max(GAP_TOLERANCE, few),
            f"APGD-CE {ce:.1%}, APGD-DLR {dlr:.1%}",
        ),
        sign(
            "accuracy rises with eps",
            rise >= max(TOLERANCE, few),
            f"PGD-{STEPS} at 0, {', '.join(f'{times:g}' for times in SWEEP)} times eps: {curve} %",
        ),
        sign("random outputs", unequal > 0, f"largest difference {unequal:g}"),
    ]
    if source is not None:
        transfer = TransferAttack(source, PGD(STEPS), source_digest)
        crafted = result(bound(transfer, Ball(norm, eps))).accuracy
        signs.append(
            sign(
                "transfer beats white box",
                pgd - crafted >= max(TOLERANCE, few),
                f"transfer {crafted:.1%}, PGD-{STEPS} {pgd:.1%}",
            )
        )
    return signs


def _zero_gradients(logits: Logits, examples: Examples, batch_size: int) -> float:
    count = tf.function(functools.partial(zero_gradients, logits), autograph=False, reduce_retracing=True)
    zero = 0
    for start in range(0, len(examples), batch_size):
        part = examples.take(slice(start, start + batch_size))
        zero += int(count(as_float(tf.constant(part.images)), tf.constant(part.labels)))
    return zero / len(examples)


def _random_outputs(logits: Logits, examples: Examples, batch_size: int) -> float:
    images = as_float(tf.constant(examples.images[:batch_size]))
    passes = tf.function(logits, autograph=False)
    return random_difference(*(passes(images) for _ in range(2)))
