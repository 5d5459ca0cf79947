"""Attacks by the names that the command line gives them."""

import dataclasses
import re

import tensorflow as tf

from agkd_tf.attacks import auto_attack
from agkd_tf.attacks.attack import Attack
from agkd_tf.attacks.gradient_attack import NORMS, TARGETS, GradientAttack
from agkd_tf.errors import InputError, check_choice, check_eps, check_range
from agkd_tf.models import logits_of
from agkd_tf.perturbation_size import parse_size


@dataclasses.dataclass(frozen=True)
class AttackSequence:
    """One or more attacks in order; an image is robust if none of them fools the classifier.

    Attributes:
        name: as the command line spells it.
        attacks: `agkd_tf.attacks.attack.Attack`s.
    """

    name: str
    attacks: tuple[Attack, ...]

    @property
    def stages(self):
        """Returns the (part, variant) that are run in order."""
        return [(part, variant) for part in self.attacks for variant in range(part.variants)]

    def __call__(self, logits, images, labels, indices, seed):
        """Returns, for each image, the adversary of the first stage that fools the classifier, or of the last.

        See `Attack`. Every stage sees the whole batch; `agkd_tf.evaluation` spares what has fallen.
        """
        logits, adv = logits_of(logits), images
        for number, (part, variant) in enumerate(self.stages):
            tried = part(logits, images, labels, indices, seed, variant)
            robust = tf.equal(tf.argmax(logits(adv), axis=1, output_type=tf.int32), labels)
            adv = tf.where(robust[:, None, None, None], tried, adv) if number else tried
        return adv

    def settings(self):
        """Returns the parts' settings, for JSON."""
        return [part.settings() for part in self.attacks]


# Name -> (objective, steps or None for `-K`, step size as a share of eps, random start, momentum).
# 2/255 at eps 8/255, the published step of PGD and CW, is a quarter of eps. The step of BIM and MIM is not published,
# nor whether FGSM starts at random: hence `~SIZE` and `fgsm-rs`.
GRADIENT_ATTACKS = {
    "clean": ("cross_entropy", 0, 0.0, False, None),
    "fgsm": ("cross_entropy", 1, 1.0, False, None),
    "fgsm-rs": ("cross_entropy", 1, 1.0, True, None),
    "bim": ("cross_entropy", None, 0.25, False, None),
    "pgd": ("cross_entropy", None, 0.25, True, None),
    "cw": ("margin", None, 0.25, True, None),
    "mim": ("cross_entropy", None, 0.25, False, 1.0),
}
ENSEMBLES = {
    "autoattack": auto_attack.auto_attack,
    "autoattack-rand": auto_attack.auto_attack_rand,
    "apgd-ce": auto_attack.apgd_ce,
    "apgd-dlr": auto_attack.apgd_dlr,
    "apgd-t": auto_attack.apgd_t,
    "fab-t": auto_attack.fab_t,
    "square": auto_attack.square,
}
ATTACK_NAMES = ("clean", "fgsm", "fgsm-rs", "bim-K", "pgd-K", "cw-K", "mim-K", *ENSEMBLES)
PATTERN = r"(fgsm-rs|[a-z]+)(?:-([1-9][0-9]{0,5}))?(?:~([0-9./]+))?(?:x([1-9][0-9]{0,2}))?(?:@([a-z]+))?"
GRAMMAR = (
    f"{', '.join(ATTACK_NAMES)}, with K steps, below 1,000,000; ~SIZE after a name for steps of that size "
    f"(pgd-20~1/255), xR for R restarts, below 1,000 (pgd-20x5), @TARGET for a targeted form, of {', '.join(TARGETS)} "
    "(pgd-20@mc)"
)


def parse_attack(name, *, eps, norm="linf", num_classes=None):
    """Returns the `AttackSequence` called `name`.

    Args:
        name: as `GRAMMAR` says.
        eps: radius of the ball, in units of images in [0, 1].
        norm: linf or l2.
        num_classes: number of classes; needed by autoattack, apgd-dlr, apgd-t and fab-t.

    Raises:
        InputError: for an unknown name, a missing or needless number of steps, a step of size 0, restarts of an
            attack without a random start, or an `eps` out of range.
    """
    check_choice("norm", norm, list(NORMS))
    if norm == "linf":
        check_eps("eps", eps)
    else:
        check_range("eps", eps, 0.0)
    if name in ENSEMBLES:
        # What is misclassified without any perturbation is not attacked.
        (clean,) = parse_attack("clean", eps=eps, norm=norm).attacks
        return AttackSequence(name, (clean, *ENSEMBLES[name](eps, norm, num_classes=num_classes)))
    match = re.fullmatch(PATTERN, name)
    kind, given, size, restarts, target = match.groups() if match else (None,) * 5
    if kind in GRADIENT_ATTACKS and target in (None, *TARGETS):
        objective, steps, share, random_start, momentum = GRADIENT_ATTACKS[kind]
        idle = (restarts and not random_start) or ((target or size) and kind == "clean")
        if (steps is None) == (given is not None) and not idle:
            steps = int(given) if steps is None else steps
            step_size = share * eps if size is None else _step_size(name, size)
            base = kind + (f"-{given}" if given else "") + (f"~{size}" if size else "")
            base += f"@{target}" if target else ""
            part = GradientAttack(
                base,
                objective,
                eps if steps else 0.0,
                step_size,
                steps,
                random_start,
                norm,
                momentum,
                target,
                int(restarts or 1),
            )
            return AttackSequence(name, (part,))
    raise InputError(f"`attacks` must be of {GRAMMAR}. Received: {name!r}")


def _step_size(name, text):
    try:
        size = parse_size(text)
    except ValueError as error:
        raise InputError(f"`attacks`: the step's size in {name!r} {error}") from error
    if size == 0:
        raise InputError(f"`attacks`: the step's size in {name!r} must be greater than 0")
    return size
