"""A random sample of a finite population, which grows until an interval is as narrow as asked for."""

import bisect
import dataclasses
import functools
import itertools

from agkd_tf.intervals import hypergeometric_interval

CONFIDENCE = 0.95
SMALLEST = 50  # images of the first sample: fewer say nothing about how weak an attack is
GROWTH = 1.5


@dataclasses.dataclass(frozen=True)
class SequentialSample:
    """How the sample grows, and what it says about the population at each size.

        plan = SequentialSample(population=2500, precision=125)
        plan.sizes                  # such as (58, 87, 131, ..., 2500)
        plan.interval(58, 57)       # 57 of the 58 are successes

    Whoever looks several times, and stops as soon as the result looks precise, would be wrong more often than an
    interval's level says. The error that the confidence level allows is therefore shared equally by all looks: whenever
    one stops, the interval holds the number of successes in the population with at least the stated probability.

    Attributes:
        population: number of all members, at least 1.
        precision: largest half width of the interval that is precise enough, as a number of members.
        confidence: probability with which the intervals of all looks hold the truth.
    """

    population: int
    precision: float
    confidence: float = CONFIDENCE

    @functools.cached_property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of the sample at which to look: the last one is the population."""
        for looks in itertools.count(1):
            # The smallest sample that could be precise enough: all of its members are successes.
            possible = range(min(SMALLEST, self.population), self.population)
            sizes = [possible.start + bisect.bisect_left(possible, True, key=functools.partial(self._suffices, looks))]
            while sizes[-1] < self.population:
                sizes.append(min(self.population, round(GROWTH * sizes[-1])))
            if len(sizes) - 1 <= looks:  # the last look, at all, is never wrong
                break
        return tuple(sizes)

    def interval(self, size: int, successes: int) -> tuple[int, int]:
        """Returns the interval (low, high) of the number of successes in the population, at one of `sizes`.

        Args:
            size: size of the sample.
            successes: number of successes in the sample.
        """
        return self._interval(size, successes, max(1, len(self.sizes) - 1))

    def is_precise(self, size: int, successes: int) -> bool:
        """Returns whether the interval is narrow enough to stop."""
        return self._is_precise(self.interval(size, successes))

    def _interval(self, size: int, successes: int, looks: int) -> tuple[int, int]:
        level = 1 - (1 - self.confidence) / looks
        return hypergeometric_interval(successes, size, self.population, confidence=level)

    def _suffices(self, looks: int, size: int) -> bool:
        return self._is_precise(self._interval(size, size, looks))

    def _is_precise(self, interval: tuple[int, int]) -> bool:
        return interval[1] - interval[0] <= 2 * self.precision
