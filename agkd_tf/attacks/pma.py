"""PMA+: a cheap strong attack, the probability margin first and AutoAttack's targeted ratio after it.

Source: Xie et al., Towards Million-Scale Adversarial Robustness Evaluation with Stronger Individual Attacks, 2024; both
objectives are here ascended by Auto-PGD.
"""

import dataclasses
from typing import Annotated

from agkd_tf.attacks.apgd import APGD, ITERATIONS
from agkd_tf.attacks.attack import Attack, named_with
from agkd_tf.attacks.ball import Ball
from agkd_tf.attacks.ensemble import Ensemble
from agkd_tf.settings import LARGEST, Range


@dataclasses.dataclass(frozen=True)
class PMAPlus(Ensemble):
    """Auto-PGD on the margin of probabilities, then on the targeted ratio of the likeliest wrong classes.

    About 200 passes per image and target that it leaves, where AutoAttack takes 9,800. It breaks nearly all images that
    AutoAttack breaks, unless gradients are masked: never report its accuracy as robustness by itself.

    Attributes:
        steps: number of iterations of each run.
        targets: number of wrong classes that the targeted ratio approaches.
    """

    steps: Annotated[int, Range(0, LARGEST), "Number of iterations of each run."] = ITERATIONS
    targets: Annotated[int, Range(1, LARGEST), "Wrong classes that the targeted ratio approaches."] = 1

    @property
    def name(self) -> str:
        """`pma+`, then the settings that differ from their defaults."""
        return named_with("pma+", self, "steps", "targets")

    @property
    def parts(self) -> tuple[Attack, ...]:
        return (
            APGD("probability_margin", steps=self.steps),
            APGD("targeted_dlr", steps=self.steps, targets=self.targets),
        )

    def settings(self, ball: Ball) -> dict:
        return super().settings(ball) | {"steps": self.steps, "targets": self.targets}
