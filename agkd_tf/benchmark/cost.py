"""What a training costs, from the time of its steps."""

import dataclasses

from agkd_tf.benchmark.timing import Timing


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a recipe's training on one machine, its teacher's not counted.

    Attributes:
        timing: `Timing` of its steps.
        facts: what `Worker.facts` gave.
        environment: machine and versions (see `describe_environment`).
    """

    timing: Timing
    facts: dict
    environment: dict

    @property
    def seconds_per_epoch(self):
        """Of training steps alone: validation is not part of it."""
        return self.timing.median * self.facts["steps_per_epoch"]

    @property
    def hours(self):
        """Of all epochs."""
        return self.seconds_per_epoch * self.facts["epochs"] / 3600

    def record(self):
        """Returns the cost for JSON."""
        totals = {"seconds_per_epoch": self.seconds_per_epoch, "hours": self.hours}
        return {**self.facts, **self.timing.record(), **totals, "environment": self.environment}
