"""Timings that are comparable on a noisy machine: contestants take turns, and medians summarize them."""

import dataclasses
import statistics
from collections.abc import Callable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Timing:
    """The durations of repeated steps.

    Attributes:
        rounds: one tuple per round, with the seconds of each step.
        items: number of items that a step processes: images, or floating-point operations.
    """

    rounds: tuple[tuple[float, ...], ...]
    items: int

    @property
    def seconds(self) -> list[float]:
        """Seconds of each step, in order."""
        return [seconds for steps in self.rounds for seconds in steps]

    @property
    def median(self) -> float:
        """Seconds of the median step."""
        return statistics.median(self.seconds)

    @property
    def items_per_second(self) -> float:
        """Items per second in the median step."""
        return self.items / self.median

    def compile_seconds(self, first: float) -> float:
        """Returns the seconds that a first step took longer than a median step, to trace and compile.

        Args:
            first: seconds of the first step.
        """
        return max(0.0, first - self.median)

    def record(self) -> dict[str, Any]:
        """Returns a dict for JSON: seconds per step in each round and summarized, number of steps, items per second."""
        return {
            "median_step_seconds": self.median,
            "min_step_seconds": min(self.seconds),
            "max_step_seconds": max(self.seconds),
            "round_step_seconds": self.rounds,
            "steps_timed": len(self.seconds),
            "images_per_second": self.items_per_second,
        }


def take_turns(
    contestants: Mapping[str, Callable[[int], list[float]]],
    *,
    rounds: int,
    steps: int,
    items: Mapping[str, int],
    progress: Callable[[int, int], object] | None = None,
) -> dict[str, Timing]:
    """Times contestants in turn, so that noise on the machine affects all alike; returns title -> `Timing`.

    Args:
        contestants: dict of title -> callable, number of steps -> seconds of each step.
        rounds: number of turns that each contestant takes.
        steps: steps per turn.
        items: dict of title -> items per step (see `Timing`).
        progress: callable (turns done, turns in total), called after each turn.
    """
    found: dict[str, list[tuple[float, ...]]] = {title: [] for title in contestants}
    for number in range(rounds):
        for place, (title, run) in enumerate(contestants.items()):
            found[title].append(tuple(run(steps)))
            if progress:
                progress(number * len(contestants) + place + 1, rounds * len(contestants))
    return {title: Timing(tuple(turns), items[title]) for title, turns in found.items()}


def ratio(timing: Timing, other: Timing) -> tuple[float, float, float]:
    """Returns the throughput relative to `other`: (median, least, greatest) of the rounds."""
    rates = [[each.items / statistics.median(steps) for steps in each.rounds] for each in (timing, other)]
    ratios = [mine / its for mine, its in zip(*rates, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)
