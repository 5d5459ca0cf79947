"""The cost of a training run, computed from the time of its steps."""

import dataclasses
from typing import Any

from agkd_tf.benchmark.timing import Timing, ratio


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of training a recipe on one machine.

    Attributes:
        timing: `Timing` of its steps.
        facts: what `Worker.facts` returned.
        environment: machine and versions (see `describe_environment`).
        peers: command -> `Timing` of another implementation, measured in the same rounds.
        teacher: the cost of the teacher that is trained first, measured in the same rounds; None without one.
        teacher_is_given: whether there is a teacher that was trained before, whose cost is not known.
    """

    timing: Timing
    facts: dict[str, Any]
    environment: dict[str, Any]
    peers: dict[str, Timing] = dataclasses.field(default_factory=dict)
    teacher: "Cost | None" = None
    teacher_is_given: bool = False

    @property
    def seconds_per_epoch(self) -> float:
        """Seconds per epoch of the training steps alone, without validation."""
        return self.timing.median * self.facts["steps_per_epoch"]

    @property
    def hours(self) -> float:
        """Hours for all epochs of the student's training steps."""
        return self.seconds_per_epoch * self.facts["epochs"] / 3600

    @property
    def hours_with_teacher(self) -> float | None:
        """Hours for all epochs of training steps, the student's and the teacher's; None if these are not known."""
        if self.teacher_is_given:
            return None
        return self.hours + (self.teacher.hours if self.teacher else 0.0)

    def record(self) -> dict[str, Any]:
        """Returns the cost as a dict for JSON; without `hours_with_teacher` where these are not known.

        `times_the_peer` is the `ratio` to a peer; each of the peer's step times is the median of one of its turns.
        """
        totals = {"seconds_per_epoch": self.seconds_per_epoch, "hours": self.hours}
        if self.hours_with_teacher is not None:
            totals["hours_with_teacher"] = self.hours_with_teacher
        record = {**self.facts, **self.timing.record(), **totals, "environment": self.environment}
        record["compile_seconds"] = self.timing.compile_seconds(self.facts["first_step_seconds"])
        if self.peers:
            record["peers"] = {
                command: {"times_the_peer": ratio(self.timing, peer), **peer.record()}
                for command, peer in self.peers.items()
            }
        return record
