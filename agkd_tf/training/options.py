"""How a training runs: what the recipe does not say."""

import dataclasses
from typing import Annotated, get_args

from agkd_tf.compilation import JitCompile
from agkd_tf.data.device_images import Resident
from agkd_tf.errors import check_choice
from agkd_tf.progress import Mode
from agkd_tf.settings import Range, check_settings


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """How a training runs. Options are not recorded: a run may be resumed with other ones.

    Attributes:
        jit_compile: whether XLA compiles attack, passes and gradients; "auto" with an accelerator only (see
            `Defense.compile`).
        resident: whether the training images stay on the accelerator; "auto" for up to 2 GiB of them (see
            `resolve_resident`).
        keep_checkpoints: how many checkpoints are kept.
        checkpoint_every_minutes: minutes between checkpoints within an epoch, if a single process trains; 0 for none.
        panel_every: epochs between TensorBoard's image panels; 0 for none.
        progress: "bar" for one line per epoch and a bar within it, "lines" for the lines alone, "off" for nothing;
            "auto" for a bar on a terminal and in a notebook, lines elsewhere.

    Raises:
        InputError: for a value that is not allowed.
    """

    jit_compile: JitCompile = "auto"
    resident: Resident = "auto"
    keep_checkpoints: Annotated[int, Range(1), "Number of checkpoints that are kept."] = 2
    checkpoint_every_minutes: Annotated[
        float, Range(0.0), "Minutes between checkpoints within an epoch, where one process trains; 0: none."
    ] = 15.0
    panel_every: Annotated[int, Range(0), "Epochs between TensorBoard's image panels; 0 for none."] = 5
    progress: Mode = "auto"

    def __post_init__(self) -> None:
        for name in ("jit_compile", "resident"):
            check_choice(name, getattr(self, name), ("auto", True, False))
        check_choice("progress", self.progress, get_args(Mode))
        for name, value in check_settings(TrainingOptions, vars(self)).items():
            object.__setattr__(self, name, value)
