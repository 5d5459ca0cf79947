"""How an evaluation is done."""

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
    """How an evaluation is done; arguments of `agkd_tf.evaluate`, `agkd_tf.audit` and `EvaluationSession`."""

    eps: Annotated[Radius | None, "Radius of the ball; the run's own if not given."] = None
    norm: Annotated[Norm | None, "Norm of the ball; the run's own, or linf, if not given."] = None
    num_examples: Annotated[Count | None, "First N images of the split; all if not given."] = None
    batch_size: Annotated[Count, "Images a step."] = 100
    seed: Annotated[int, Range(0, LARGEST), "Seed of the attacks' random numbers."] = 0
    transfer_attack: Annotated[str, "Attack on SOURCE whose adversaries transfer:SOURCE shows the model."] = (
        TRANSFER_ATTACK
    )
    adversaries: Annotated[str | None, "Folder to save the adversarial images in, a .npy file for each attack."] = None
    png: Annotated[
        bool,
        "Round adversaries to 8 bits; save them in `adversaries` as PNGs, too, a folder for each attack.",
    ] = False
    recompute: Annotated[bool, "Compute results that are recorded already once more."] = False
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
