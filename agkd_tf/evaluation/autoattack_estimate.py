"""An estimate of AutoAttack's accuracy: a cheaper attack on all images, AutoAttack on a sample of those it leaves.

AutoAttack spends nearly all of its time on images that nothing breaks. Whether an image that the cheaper attack leaves
is one of these is asked of a random sample of them only. The answer is exact about the sample and has an interval for
all images, since the sample is drawn from a finite set (`SequentialSample`).
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np

from agkd_tf.attacks import MALT
from agkd_tf.evaluation.outcome import Outcome
from agkd_tf.evaluation.result import Accuracy
from agkd_tf.evaluation.sequential_sample import SequentialSample

ESTIMATE = "autoattack-estimate"
CHEAP, FULL = MALT(targets=2), "autoattack"
WEAK = 0.05  # share of the sample beyond which the cheaper attack is called weak


@dataclasses.dataclass(frozen=True)
class AutoAttackEstimate(Accuracy):
    """The share of images that neither the cheaper attack nor AutoAttack breaks, estimated.

    estimate = agkd_tf.evaluate(model, x_test, y_test, attacks="autoattack-estimate", eps=8 / 255)[
        "autoattack-estimate"
    ]
    estimate.accuracy, estimate.interval, estimate.sample

    Attributes:
        accuracy: share of all images that the cheaper attack leaves, times the share of the sample that AutoAttack
            leaves. It estimates the share that withstands both, which is AutoAttack's own accuracy less the images
            that only the cheaper attack breaks.
        interval: (low, high), the exact 95 % interval of that share of these very images. Unlike `AttackResult`'s, it
            says nothing about other images of the same kind.
        left_by_cheap: number of images that the cheaper attack leaves.
        sample: number of these that AutoAttack attacked, drawn at random.
        left_of_sample: number of the sample that AutoAttack leaves.
        precision: half width of the interval that was asked for, in points.
        seed: seed of the attacks' random numbers and of the sample.
        seconds: wall time of both attacks, including compilation.
    """

    left_by_cheap: int
    sample: int
    left_of_sample: int
    precision: float
    seed: int
    seconds: float

    @property
    def images_per_second(self) -> float:
        """Number of images divided by the seconds."""
        return self.num_examples / max(self.seconds, 1e-9)

    @property
    def says_weak(self) -> bool:
        """Whether AutoAttack breaks so much of the sample that gradients may be masked from the cheaper attack."""
        return self.sample > 0 and 1 - self.left_of_sample / self.sample > WEAK

    @classmethod
    def recorded(cls, record: Mapping[str, Any]) -> Self:
        """Rebuilds an estimate from what `record` returned."""
        given = {field.name: record.get(field.name) for field in dataclasses.fields(cls)}
        return cls(**given | {"interval": tuple(record["confidence_interval_95"])})

    def record(self) -> dict[str, Any]:
        """Returns the numbers as a dict for JSON."""
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del given["interval"]
        return given | super().record() | {"cheap": CHEAP.name, "seconds": round(self.seconds, 2)}

    def __str__(self) -> str:
        low, high = (f"{100 * end:.2f}" for end in self.interval)
        return (
            f"{ESTIMATE}: {CHEAP.name} leaves {self.left_by_cheap:,} of {self.num_examples:,} images. Of these, "
            f"AutoAttack attacked {self.sample:,}, drawn at random, and leaves {self.left_of_sample:,}. So {low} to "
            f"{high} % of all {self.num_examples:,} images withstand both, with 95 % confidence."
        )

    __repr__ = __str__


def estimate_autoattack(
    standing: np.ndarray,
    outcome: Outcome,
    attack: Callable[[np.ndarray], None],
    *,
    precision: float,
    seed: int,
    seconds: float,
    told: Callable[[str], None] = lambda text: None,
) -> AutoAttackEstimate:
    """Attacks a growing sample of the standing images until the estimate is precise enough, and returns it.

    Args:
        standing: bool [N], images that the cheaper attack leaves.
        outcome: AutoAttack's `Outcome`, which `attack` fills.
        attack: callable, indices of images -> None; runs AutoAttack where its outcome is not known yet.
        precision: half width of the interval, in points.
        seed: seed of the sample.
        seconds: seconds that the cheaper attack took.
        told: callable, gets a line of text about each size of the sample.
    """
    count, left_by_cheap = len(standing), int(np.count_nonzero(standing))
    order = np.random.default_rng(seed).permutation(count)
    order = order[standing[order]]
    size, left, low, high = 0, 0, 0, 0
    if left_by_cheap:
        plan = SequentialSample(left_by_cheap, precision / 100 * count)
        for size in plan.sizes:
            told(f"{ESTIMATE}: AutoAttack on {size:,} of the {left_by_cheap:,} images that {CHEAP.name} leaves ...")
            attack(np.sort(order[:size]))
            left = int(np.count_nonzero(outcome.robust[order[:size]]))
            low, high = plan.interval(size, left)
            if plan.is_precise(size, left):
                break
    return AutoAttackEstimate(
        left_by_cheap / count * (left / size if size else 0.0),
        count,
        (low / count, high / count),
        left_by_cheap=left_by_cheap,
        sample=size,
        left_of_sample=left,
        precision=precision,
        seed=seed,
        seconds=seconds + outcome.seconds,
    )
