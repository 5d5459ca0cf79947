"""A gradient attack for evaluation: a complete set of settings."""

import dataclasses

from agkd_tf.attacks.attack import Attack
from agkd_tf.attacks.objectives import OBJECTIVES, TARGETED
from agkd_tf.attacks.pgd import projected_gradient_descent
from agkd_tf.attacks.starts import ball_per_example
from agkd_tf.attacks.targets import random_other_class_per_example
from agkd_tf.logits import most_confusing_class, ranked_other_class
from agkd_tf.randomness import named_seed, variant_seed

NORMS = {"linf": float("inf"), "l2": 2}
# The class that a targeted attack approaches, from the clean image's logits.
TARGETS = {
    "mc": lambda logits, labels, indices, seed: most_confusing_class(logits, labels),
    "least": lambda logits, labels, indices, seed: ranked_other_class(logits, labels, logits.shape[1] - 1),
    "random": lambda logits, labels, indices, seed: random_other_class_per_example(
        labels, logits.shape[1], indices, seed
    ),
}


@dataclasses.dataclass(frozen=True)
class GradientAttack(Attack):
    """Projected gradient ascent on a loss; the last iterate is the adversary.

    Attributes:
        name: for example `pgd-20`; keys the random numbers.
        objective: a name of `OBJECTIVES`.
        eps, step_size: in units of images in [0, 1].
        steps: number of gradient steps; 0 leaves the images clean.
        random_start: begin at a uniform point of the ball instead of the image.
        norm: a name of `NORMS`.
        momentum: decay of the accumulated gradient; None for none.
        target: a name of `TARGETS`, the class that the objective's targeted form approaches; None for untargeted.
        variants: runs from different random starts.
    """

    name: str
    objective: str
    eps: float
    step_size: float
    steps: int
    random_start: bool
    norm: str = "linf"
    momentum: float | None = None
    target: str | None = None
    variants: int = 1

    def perturb(self, logits, images, labels, indices, seed, variant=0):
        seed = variant_seed(named_seed(seed, self.name), variant)
        start = None
        if self.random_start:
            start = ball_per_example(indices, images.shape[1:], seed, self.eps, self.norm)
        if self.target is None:
            score, classes = OBJECTIVES[self.objective], labels
        else:
            score = TARGETED[self.objective]
            classes = TARGETS[self.target](logits(images), labels, indices, named_seed(seed, "target"))
        return projected_gradient_descent(
            lambda adv: score(logits(adv), classes),
            images,
            eps=self.eps,
            step_size=self.step_size,
            steps=self.steps,
            start=start,
            norm=NORMS[self.norm],
            momentum=self.momentum,
        )

    def climbed(self, logits):
        return super().climbed(logits) if self.steps else None

    def settings(self):
        return super().settings() if self.steps else {}


def pgd_attack(steps, *, eps, norm="linf"):
    """Returns PGD on the cross-entropy from a uniform start, by steps of eps / 4."""
    return GradientAttack(f"pgd-{steps}", "cross_entropy", eps, eps / 4, steps, random_start=True, norm=norm)
