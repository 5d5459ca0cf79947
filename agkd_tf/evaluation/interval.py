"""Confidence intervals of accuracies."""

from scipy.stats import binomtest


def wilson_interval(successes, trials, *, confidence=0.95):
    """Returns (low, high), Wilson's score interval of a share.

    Args:
        successes: images that were classified correctly.
        trials: images that were tried, at least 1.
        confidence: of the interval.

    Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927.
    """
    interval = binomtest(int(successes), int(trials)).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)
