"""What would fill a table's empty cells."""

import dataclasses

from agkd_tf.perturbation_size import format_size


@dataclasses.dataclass(frozen=True)
class Train:
    """A training.

    Attributes:
        recipe: flagfile of its recipe.
        workdir: folder of the run.
    """

    recipe: str
    workdir: str

    def __str__(self) -> str:
        return f"train {self.recipe} in {self.workdir}"


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """An evaluation.

    Attributes:
        workdir: folder of the run.
        attacks: their names; () for the default ones.
        eps: radius of the l_inf ball; None for the run's own.
        knn: whether nearest neighbors classify, too.
        transfer_attack: attack that crafts adversaries of other networks; "" for the default one.
    """

    workdir: str
    attacks: tuple[str, ...] = ()
    eps: float | None = None
    knn: bool = False
    transfer_attack: str = ""

    def __str__(self) -> str:
        parts = [
            f"evaluate {self.workdir}",
            f"under {', '.join(self.attacks)}" if self.attacks else "",
            f"crafted by {self.transfer_attack}" if self.transfer_attack else "",
            f"at eps {format_size(self.eps)}" if self.eps is not None else "",
            "with nearest neighbors" if self.knn else "",
        ]
        return " ".join(filter(None, parts))


@dataclasses.dataclass(frozen=True)
class MeasureCost:
    """A measurement of what a training costs.

    Attributes:
        recipe: flagfile of its recipe, or folder of its run.
    """

    recipe: str

    def __str__(self) -> str:
        return f"measure what training {self.recipe} costs"


Work = Train | Evaluate | MeasureCost


@dataclasses.dataclass(frozen=True)
class Missing:
    """One piece of work that fills empty cells.

    Attributes:
        row: title of the row.
        work: what fills it.
    """

    row: str
    work: Work
