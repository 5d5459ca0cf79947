"""The options of an evaluation."""

import dataclasses
import os
from typing import Annotated, Literal, get_args

from agkd_tf.attacks import Norm
from agkd_tf.errors import InputError, check_choice, check_eps
from agkd_tf.progress import Mode
from agkd_tf.settings import LARGEST, Count, Radius, Range, check_settings

TRANSFER_ATTACK = "pgd-20"


@dataclasses.dataclass(frozen=True)
class EvaluationOptions:
    """Options of an evaluation: arguments of `agkd_tf.evaluate`, `agkd_tf.audit` and `EvaluationSession`."""

    eps: Annotated[Radius | None, "Radius of the ball that adversaries lie in; the run's own if not given."] = None
    norm: Annotated[Norm | None, "Norm of the ball; if not given, the run's own, or linf without a run."] = None
    num_examples: Annotated[Count | None, "Evaluate on the first N images of the split; on all if not given."] = None
    batch_size: Annotated[Count, "Images per step."] = 100
    seed: Annotated[int, Range(0, LARGEST), "Seed of the attacks' random numbers."] = 0
    transfer_attack: Annotated[str, "Attack that transfer:SOURCE uses to craft adversaries on SOURCE."] = (
        TRANSFER_ATTACK
    )
    precision: Annotated[
        float, Range(0.01, 50.0), "Points by which autoattack-estimate may be off: half the width of its interval."
    ] = 0.5
    adversaries: Annotated[str | None, "Save the adversarial images in this folder, a .npy file per attack."] = None
    png: Annotated[
        bool,
        "Round adversaries to 8 bits, and also save them as PNGs in `adversaries`, a folder per attack.",
    ] = False
    recompute: Annotated[bool, "Compute results again even if they are already recorded."] = False
    jit_compile: Literal["auto", True, False] = "auto"
    progress: Mode = "auto"

    def __post_init__(self) -> None:
        if self.adversaries is not None:
            if not isinstance(self.adversaries, str | os.PathLike):
                raise InputError(f"`adversaries` must be the path of a folder. Received: {self.adversaries!r}")
            object.__setattr__(self, "adversaries", os.fspath(self.adversaries))
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name, value in check_settings(EvaluationOptions, given).items():
            object.__setattr__(self, name, value)
        check_choice("progress", self.progress, get_args(Mode))
        if self.norm == "linf" and self.eps is not None:
            check_eps("eps", self.eps)
        if self.png and not self.adversaries:
            raise InputError("`png` needs `adversaries=FOLDER`, the folder to save the images in")
