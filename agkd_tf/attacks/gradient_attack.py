"""An evaluation attack: a named, complete set of settings."""

import dataclasses
import re

from agkd_tf.attacks.objectives import OBJECTIVES
from agkd_tf.attacks.pgd import projected_gradient_descent
from agkd_tf.errors import InputError, check_eps
from agkd_tf.randomness import named_seed, uniform_per_example


@dataclasses.dataclass(frozen=True)
class GradientAttack:
    """An untargeted l_inf attack; the last iterate is the adversary.

    Attributes:
        name: as the command line spells it, for example `pgd-20`.
        objective: a name of `OBJECTIVES`.
        eps, step_size: in units of images in [0, 1].
        steps: number of gradient steps; 0 leaves the images clean.
        random_start: begin at a uniform point of the ball instead of the image.
    """

    name: str
    objective: str
    eps: float
    step_size: float
    steps: int
    random_start: bool

    def __call__(self, logits, images, labels, indices, seed):
        """Returns adversarial images.

        Args:
            logits: callable, float32 images [B, H, W, C] in [0, 1] -> float32 logits [B, n].
            images: float32 [B, H, W, C] in [0, 1].
            labels: int32 [B].
            indices: int32 [B], the examples' places in the data set; they key the random start.
            seed: int32 [2].

        Returns:
            float32 [B, H, W, C].
        """
        objective, start = OBJECTIVES[self.objective], None
        if self.random_start:
            start = uniform_per_example(indices, images.shape[1:], named_seed(seed, self.name), -self.eps, self.eps)
        return projected_gradient_descent(
            lambda adv: objective(logits(adv), labels),
            images,
            eps=self.eps,
            step_size=self.step_size,
            steps=self.steps,
            start=start,
        )

    def settings(self):
        """Returns what a record of a result needs to name, as a dict for JSON."""
        if not self.steps:
            return {}
        return {**dataclasses.asdict(self), "norm": "linf", "targeted": False, "restarts": 1}


# Name -> (objective, steps or None for `-K`, step size as a share of eps, random start).
# 2/255 at eps 8/255, the published step of PGD and CW, is a quarter of eps.
ATTACKS = {
    "clean": ("cross_entropy", 0, 0.0, False),
    "fgsm": ("cross_entropy", 1, 1.0, False),
    "pgd": ("cross_entropy", None, 0.25, True),
    "cw": ("margin", None, 0.25, True),
}
ATTACK_NAMES = ("clean", "fgsm", "pgd-K", "cw-K")


def parse_attack(name, *, eps):
    """Returns the `GradientAttack` called `name`: clean, fgsm, pgd-K or cw-K, for K steps.

    Raises:
        InputError: for an unknown name, a missing or needless number of steps, or an `eps` out of range.
    """
    check_eps("eps", eps)
    match = re.fullmatch(r"([a-z]+)(?:-([1-9][0-9]*))?", name)
    kind, given = match.groups() if match else (None, None)
    if kind in ATTACKS:
        objective, steps, share, random_start = ATTACKS[kind]
        if (steps is None) == (given is not None):
            return GradientAttack(
                name, objective, eps, share * eps, steps if given is None else int(given), random_start
            )
    raise InputError(f"`attacks` must be of {', '.join(ATTACK_NAMES)}, with K at least 1. Received: {name!r}")
