"""The worst case over several attacks, image by image."""

import numpy as np

from agkd_tf.evaluation.interval import wilson_interval


def worst_case(outcomes):
    """Returns for JSON the share of images that none of several attacks broke, with its interval.

    Args:
        outcomes: dict of attack name -> bool [N], whether each image stayed correct.
    """
    robust = np.logical_and.reduce(list(outcomes.values()))
    return {
        "accuracy": float(robust.mean()),
        "num_examples": len(robust),
        "confidence_interval_95": list(wilson_interval(robust.sum(), len(robust))),
        "over": sorted(outcomes),
    }
