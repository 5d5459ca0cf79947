"""What a training costs, from the time of its steps."""

import dataclasses
from typing import Any

from agkd_tf.benchmark.timing import Timing, ratio


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a recipe's training on one machine, its teacher's not counted.

    Attributes:
        timing: `Timing` of its steps.
        facts: what `Worker.facts` gave.
        environment: machine and versions (see `describe_environment`).
        peers: command -> `Timing` of another implementation that took its turns in the same rounds.
    """

    timing: Timing
    facts: dict[str, Any]
    environment: dict[str, Any]
    peers: dict[str, Timing] = dataclasses.field(default_factory=dict)

    @property
    def seconds_per_epoch(self) -> float:
        """Of training steps alone: validation is not part of it."""
        return self.timing.median * self.facts["steps_per_epoch"]

    @property
    def hours(self) -> float:
        """Of all epochs."""
        return self.seconds_per_epoch * self.facts["epochs"] / 3600

    def record(self) -> dict[str, Any]:
        """Returns the cost for JSON; `times_the_peer` is the `ratio` to a peer, whose steps are its turns' medians."""
        totals = {"seconds_per_epoch": self.seconds_per_epoch, "hours": self.hours}
        record = {**self.facts, **self.timing.record(), **totals, "environment": self.environment}
        record["compile_seconds"] = self.timing.compile_seconds(self.facts["first_step_seconds"])
        if self.peers:
            record["peers"] = {
                command: {"times_the_peer": ratio(self.timing, peer), **peer.record()}
                for command, peer in self.peers.items()
            }
        return record
