"""Confidence intervals of accuracies."""

import bisect

import numpy as np
from scipy.stats import binomtest, bootstrap, hypergeom

from agkd_tf.types import Array, Interval


def wilson_interval(successes: int, trials: int, *, confidence: float = 0.95) -> Interval:
    """Returns Wilson's score interval of a proportion as (low, high).

    Args:
        successes: number of images that were classified correctly.
        trials: number of all images, at least 1.
        confidence: confidence level.

    Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927.
    """
    interval = binomtest(int(successes), int(trials)).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def hypergeometric_interval(
    successes: int, sample: int, population: int, *, confidence: float = 0.95
) -> tuple[int, int]:
    """Returns the exact interval (low, high) of the number of successes in a finite population.

    A number K belongs to it unless, with K successes in the population, a sample with at most, or at least, as many
    successes as the given one has a probability of at most (1 - confidence) / 2: Clopper and Pearson's interval for
    samples without replacement. If the sample is the whole population, both ends are the number of successes.

    Args:
        successes: number of successes in the sample.
        sample: size of the sample, drawn at random without replacement; 0 for none.
        population: size of the population.
        confidence: confidence level.

    Source: Clopper and Pearson, The Use of Confidence or Fiducial Limits, 1934; Konijn, Statistical Theory of Sample
    Survey Design and Analysis, 1973 (hypergeometric).
    """
    tail = (1 - confidence) / 2
    possible = range(successes, population - (sample - successes) + 1)
    low = bisect.bisect_right(possible, tail, key=lambda k: hypergeom.sf(successes - 1, population, k, sample))
    high = bisect.bisect_left(possible, -tail, key=lambda k: -hypergeom.cdf(successes, population, k, sample))
    return possible[min(low, len(possible) - 1)], possible[max(high - 1, 0)]


def mean_interval(values: Array, *, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Returns the percentile bootstrap interval of a mean as (low, high); for a single value, that value twice.

    Args:
        values: float [N], one value per image, at least 1.
        confidence: confidence level.
        seed: seed of the 1000 resamples.

    Source: Efron, Bootstrap Methods: Another Look at the Jackknife, 1979.
    """
    values = np.asarray(values, np.float64)
    if len(values) == 1:  # SciPy refuses to resample a single value
        return float(values[0]), float(values[0])
    found = bootstrap(
        (values,),
        np.mean,
        n_resamples=1000,
        batch=50,
        confidence_level=confidence,
        method="percentile",
        rng=seed,
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
