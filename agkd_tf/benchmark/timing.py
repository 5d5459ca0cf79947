"""Durations that can be compared on a noisy machine: taken in turn, summed up by medians."""

import dataclasses
import statistics
from collections.abc import Callable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Timing:
    """What repeated steps took.

    Attributes:
        rounds: seconds of each step, a tuple a round.
        items: what a step works on: so many images, or floating-point operations.
    """

    rounds: tuple[tuple[float, ...], ...]
    items: int

    @property
    def seconds(self) -> list[float]:
        """Of all steps, in their order."""
        return [seconds for steps in self.rounds for seconds in steps]

    @property
    def median(self) -> float:
        """Seconds of the median step."""
        return statistics.median(self.seconds)

    @property
    def items_per_second(self) -> float:
        """Of the median step."""
        return self.items / self.median

    def compile_seconds(self, first: float) -> float:
        """Returns what a first step, which traces and compiles, took beside the step itself."""
        return max(0.0, first - self.median)

    def record(self) -> dict[str, Any]:
        """Returns for JSON: seconds a step, of each round and summed up, steps, images a second (the items)."""
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
    """Returns title -> `Timing` of contestants that were timed in turn, so that noise of the machine hits all alike.

    Args:
        contestants: dict of title -> callable, number of steps -> seconds of each.
        rounds: turns that each takes.
        steps: steps in a turn.
        items: dict of title -> items of a step (see `Timing`).
        progress: callable (turns done, turns in all), called after each.
    """
    found: dict[str, list[tuple[float, ...]]] = {title: [] for title in contestants}
    for number in range(rounds):
        for place, (title, run) in enumerate(contestants.items()):
            found[title].append(tuple(run(steps)))
            if progress:
                progress(number * len(contestants) + place + 1, rounds * len(contestants))
    return {title: Timing(tuple(turns), items[title]) for title, turns in found.items()}


def ratio(timing: Timing, other: Timing) -> tuple[float, float, float]:
    """Returns (median, least, greatest) over the rounds of how many times the items a second of `other` these are."""
    rates = [[each.items / statistics.median(steps) for steps in each.rounds] for each in (timing, other)]
    ratios = [mine / its for mine, its in zip(*rates, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)
