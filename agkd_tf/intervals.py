"""Confidence intervals of accuracies."""

import numpy as np
from scipy.stats import binomtest, bootstrap

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
