"""Finds attacks by their names on the command line, and binds attacks to a ball."""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from agkd_tf.attacks.apgd import APGD
from agkd_tf.attacks.attack import Attack
from agkd_tf.attacks.auto_attack import AutoAttack
from agkd_tf.attacks.ball import Ball, Norm
from agkd_tf.attacks.cr import CR
from agkd_tf.attacks.ddn import DDN
from agkd_tf.attacks.fab import FAB
from agkd_tf.attacks.fmn import FMN
from agkd_tf.attacks.malt import MALT
from agkd_tf.attacks.pgd import BIM, CW, FGSM, MIM, PGD, TARGETS, Clean
from agkd_tf.attacks.sequence import AttackSequence
from agkd_tf.attacks.square import SquareAttack
from agkd_tf.errors import InputError
from agkd_tf.perturbation_size import parse_size

# 2/255 at eps 8/255, the published step of PGD and CW, is a quarter of eps. The step of BIM and MIM is not published,
# nor whether FGSM starts at random: hence `~SIZE` and `fgsm-rs`.
STEPLESS: Mapping[str, Callable[..., PGD]] = {
    "clean": Clean,
    "fgsm": FGSM,
    "fgsm-rs": functools.partial(FGSM, random_start=True),
}
STEPPED: Mapping[str, Callable[..., Attack]] = {"bim": BIM, "pgd": PGD, "cw": CW, "mim": MIM, "fmn": FMN, "ddn": DDN}
PLAIN = ("clean", "fmn", "ddn")  # which have no size of a step and no target to append
ENSEMBLES = {
    "autoattack": AutoAttack(),
    "autoattack-rand": AutoAttack("rand"),
    "apgd-ce": APGD(),
    "apgd-dlr": APGD("dlr"),
    "apgd-t": APGD("targeted_dlr"),
    "fab-t": FAB(),
    "square": SquareAttack(),
    "apgd-pm": APGD("probability_margin"),
    "malt": MALT(),
    "cr": CR(),
}
ATTACK_NAMES = (*STEPLESS, *(f"{kind}-K" for kind in STEPPED), *ENSEMBLES)
PATTERN = r"(fgsm-rs|[a-z]+)(?:-([1-9][0-9]{0,5}))?(?:~([0-9./]+))?(?:x([1-9][0-9]{0,2}))?(?:@([a-z]+))?"
GRAMMAR = (
    f"{', '.join(ATTACK_NAMES)}, where K is the number of steps, below 1,000,000; append ~SIZE for the size of a step "
    f"(pgd-20~1/255), xR for R restarts, below 1,000 (pgd-20x5), and @TARGET for a targeted attack (pgd-20@mc), where "
    f"TARGET is one of {', '.join(TARGETS)}"
)


def attack_named(name: str) -> Attack:
    """Returns the attack called `name`.

        attack_named("pgd-20x5@mc") == PGD(steps=20, restarts=5, target="mc")

    Args:
        name: a name of the form that `GRAMMAR` describes.

    Raises:
        InputError: for an unknown name, a missing or superfluous number of steps, a step of size 0, or restarts of an
            attack without a random start.
    """
    if name in ENSEMBLES:
        return ENSEMBLES[name]
    match = re.fullmatch(PATTERN, name)
    kind, steps, size, restarts, target = match.groups() if match else (None,) * 5
    known = kind in STEPLESS if steps is None else kind in STEPPED
    idle = (restarts and kind not in ("pgd", "cw", "fgsm-rs")) or ((target or size) and kind in PLAIN)
    if kind is None or not known or idle or target not in (None, *TARGETS):
        several = "; give several as a list" if "," in name else ""
        raise InputError(f"`attacks` must be one or more of {GRAMMAR}{several}. Received: {name!r}")
    settings: dict[str, Any] = {
        "steps": int(steps) if steps else None,
        "step_size": _step_size(name, size) if size else None,
        "restarts": int(restarts) if restarts else None,
        "target": target,
    }
    attack: Any = {**STEPLESS, **STEPPED}[kind](
        **{each: value for each, value in settings.items() if value is not None}
    )
    # The name as it was given, where another one means the same, such as a step of 2/510.
    own = kind + (f"-{steps}" if steps else "") + (f"~{size}" if size else "") + (f"@{target}" if target else "")
    return attack if attack.name == own else dataclasses.replace(attack, named=own)


def _step_size(name: str, text: str) -> float:
    try:
        size = parse_size(text)
    except ValueError as error:
        raise InputError(f"`attacks`: the step size in {name!r} {error}") from error
    if size == 0:
        raise InputError(f"`attacks`: the step size in {name!r} must be greater than 0")
    return size


def bound(attack: str | Attack | AttackSequence, ball: Ball, num_classes: int | None = None) -> AttackSequence:
    """Returns an attack bound to a ball, as an evaluation runs it.

        bound("pgd-20x5", Ball("linf", 8 / 255))
        bound(AutoAttack(), Ball("l2", 0.5), num_classes=10)

    Args:
        attack: a name of the form that `GRAMMAR` describes; an attack; or a sequence with the same ball, which is
            returned as it is.
        ball: ball that the adversarial images stay in.
        num_classes: number of classes of the classifier; AutoAttack, FAB and APGD on a ratio need it.

    Raises:
        InputError: if it is not an attack, or does not fit the ball or the number of classes.
    """
    if isinstance(attack, AttackSequence):
        if attack.ball != ball:
            raise InputError(
                f"`attacks`: {attack.name} is bound to {attack.ball.norm} {attack.ball.eps:g}, not to "
                f"{ball.norm} {ball.eps:g}: give the attack itself"
            )
        return attack
    if isinstance(attack, str):
        found = attack_named(attack)
        try:
            found.check(ball)
        except InputError as error:
            raise InputError(f"`attacks`: {attack!r}: {error}") from error
        return AttackSequence(attack, found.resolve(num_classes), ball)
    if not isinstance(attack, Attack):
        raise InputError(
            f"`attacks` must be names, such as 'pgd-20', or attacks, such as `PGD(steps=20)`. Received: {attack!r}"
        )
    attack.check(ball)
    if not attack.stays_in_ball:
        raise InputError(
            f"`attacks`: {attack.spelling} may leave the ball, so it cannot measure an accuracy within the ball: "
            "give `clip_to_ball=True`"
        )
    return AttackSequence(attack.spelling, attack.resolve(num_classes), ball)


def parse_attack(name: str, *, eps: float, norm: Norm = "linf", num_classes: int | None = None) -> AttackSequence:
    """Returns the attack called `name`, bound to a ball; the same as `bound` with a name.

    Args:
        name: a name of the form that `GRAMMAR` describes.
        eps: radius of the ball, in units of images in [0, 1].
        norm: linf or l2.
        num_classes: as `bound`.

    Raises:
        InputError: as `attack_named` and `bound`.
    """
    return bound(name, Ball(norm, eps), num_classes)
