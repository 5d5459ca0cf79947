"""How far an attack agrees with AutoAttack on one network: a row of a table."""

import dataclasses

import numpy as np

from tools.laboratory.passes import Passes


@dataclasses.dataclass(frozen=True)
class Agreement:
    """One attack on one network.

    Attributes:
        network, attack: their names.
        robust: bool [N], images that the attack leaves.
        reference: bool [N], images that AutoAttack leaves.
        passes: of the network, in all.
        seconds: with compiling.
    """

    network: str
    attack: str
    robust: np.ndarray
    reference: np.ndarray
    passes: Passes
    seconds: float

    def cells(self) -> list[str]:
        """Returns the row's cells."""
        count = len(self.robust)
        return [
            self.network,
            self.attack,
            f"{100 * np.mean(self.robust):.1f}",
            f"{100 * np.mean(self.reference):.1f}",
            str(int(np.sum(self.robust & ~self.reference))),
            str(int(np.sum(~self.robust & self.reference))),
            f"{100 * np.mean(self.robust == self.reference):.1f}",
            f"{self.passes.forward / count:,.0f}",
            f"{self.passes.backward / count:,.0f}",
            f"{self.seconds:.0f}",
        ]


HEADING = (
    "network",
    "attack",
    "left, %",
    "AutoAttack leaves, %",
    "broken by AutoAttack alone",
    "broken by this alone",
    "same outcome, %",
    "forward passes per image",
    "backward",
    "seconds",
)
