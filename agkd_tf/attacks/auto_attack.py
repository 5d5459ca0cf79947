"""AutoAttack: an ensemble of parameter-free attacks, each run on the images that the earlier ones did not fool.

Source: Croce and Hein, Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
Parameter-free Attacks, ICML 2020; constants of the authors' released code ("standard" and "rand").
"""

import dataclasses
from typing import Annotated, Literal

from agkd_tf.attacks.apgd import APGD
from agkd_tf.attacks.attack import Attack
from agkd_tf.attacks.ensemble import Ensemble
from agkd_tf.attacks.fab import FAB
from agkd_tf.attacks.square import SquareAttack

PASSES = 20
PARTS = {
    "standard": (APGD(), APGD("targeted_dlr"), FAB(), SquareAttack()),
    "rand": (APGD(passes=PASSES, named="apgd-ce"), APGD("dlr", passes=PASSES, named="apgd-dlr")),
}


@dataclasses.dataclass(frozen=True)
class AutoAttack(Ensemble):
    """APGD-CE, APGD-T, FAB-T and Square, in this order.

    Attributes:
        version: standard; or rand, for networks with random layers: APGD-CE and APGD-DLR, which average 20 forward
            passes at each point.
    """

    version: Annotated[Literal["standard", "rand"], "rand is for networks with random layers."] = "standard"

    @property
    def name(self) -> str:
        """`autoattack` or `autoattack-rand`."""
        return "autoattack" if self.version == "standard" else "autoattack-rand"

    @property
    def parts(self) -> tuple[Attack, ...]:
        return PARTS[self.version]
