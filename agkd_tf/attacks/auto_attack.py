"""AutoAttack: an ensemble of parameter-free attacks, each run on the images that the earlier ones did not fool.

Source: Croce and Hein, Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
Parameter-free Attacks, ICML 2020; constants of the authors' released code ("standard" and "rand").
"""

import dataclasses
from typing import Annotated, Literal

import tensorflow as tf

from agkd_tf.attacks.apgd import APGD
from agkd_tf.attacks.attack import Attack
from agkd_tf.attacks.ball import Ball
from agkd_tf.attacks.crafting import Logits, first_that_fools
from agkd_tf.attacks.fab import FAB
from agkd_tf.attacks.pgd import Clean
from agkd_tf.attacks.square import SquareAttack

PASSES = 20
PARTS = {
    "standard": (APGD(), APGD("targeted_dlr"), FAB(), SquareAttack()),
    "rand": (APGD(passes=PASSES, named="apgd-ce"), APGD("dlr", passes=PASSES, named="apgd-dlr")),
}


@dataclasses.dataclass(frozen=True)
class AutoAttack(Attack):
    """APGD-CE, APGD-T, FAB-T and Square, in this order.

    Images that are misclassified without any perturbation are not attacked.

    Attributes:
        version: standard; or rand, for networks with random layers: APGD-CE and APGD-DLR, which average 20 forward
            passes at each point.
    """

    version: Annotated[Literal["standard", "rand"], "rand is for networks with random layers."] = "standard"
    variants = 1

    @property
    def name(self) -> str:
        """`autoattack` or `autoattack-rand`."""
        return "autoattack" if self.version == "standard" else "autoattack-rand"

    def resolve(self, num_classes: int | None) -> tuple[Attack, ...]:
        return (Clean(), *(part.resolve(num_classes)[-1] for part in PARTS[self.version]))

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
        stages = self.stages(logits(images).shape[1])
        return first_that_fools(stages, logits, images, labels, ball, indices, seed)

    def settings(self, ball: Ball) -> dict:
        return {"name": self.name, "eps": ball.eps, "norm": ball.norm}
