"""BN statistics, estimated anew for weights that have not been trained with."""

import math
from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf

from agkd_tf.errors import InputError
from agkd_tf.keras_internals import all_layers

PROBE = 1e6  # far above any statistic, so that what a pass leaves of it shows how often a layer was called
SMALLEST = 1e-12  # share below which nothing is kept


def estimate_batch_statistics(
    model: keras.Model, passes: Callable[[tf.Tensor], object], batches: Iterable[tf.Tensor]
) -> list[tuple[keras.Variable, np.ndarray]]:
    """Returns (variable, value) of each moving statistic: the mean over some batches of the batches' own statistics.

    The model is left as it was. BN layers that are frozen, or take no part in a pass, are left out. Of a layer that a
    pass calls several times, the calls are weighted as the layer itself weights them.

    Args:
        model: network whose statistics are estimated.
        passes: callable that runs the model on a batch in training mode.
        batches: batches of images, of one size each.

    Raises:
        InputError: if there are no batches.

    Source: Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, UAI 2018, section 3.2.
    """
    layers = [
        layer
        for layer in all_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable and layer.momentum < 1.0
    ]
    statistics = [(each, layer.momentum) for layer in layers for each in (layer.moving_mean, layer.moving_variance)]
    before = [(variable, variable.numpy()) for variable in model.non_trainable_variables]
    run = tf.function(lambda images: passes(images) is None, autograph=False, reduce_retracing=True)
    sums, count = [np.zeros(variable.shape) for variable, _ in statistics], 0
    try:
        for images in batches:
            if not count:
                _fill(statistics, PROBE)
                run(images)
                kept = [_kept(variable, momentum) for variable, momentum in statistics]
            _fill(statistics, 0.0)
            run(images)
            # From 0, a pass leaves the statistic of its batch, times the share of the old one that it drops.
            for total, (variable, _), share in zip(sums, statistics, kept, strict=True):
                total += variable.numpy() / (1.0 - share) if share < 1.0 else 0.0
            count += 1
    finally:
        for variable, value in before:  # also the state of random layers
            variable.assign(value)
    if not count:
        raise InputError("BN statistics cannot be estimated without images")
    found = zip(statistics, sums, kept, strict=True)
    return [(variable, total / count) for (variable, _), total, share in found if share < 1.0]


def _fill(statistics: Iterable[tuple[keras.Variable, float]], value: float) -> None:
    for variable, _ in statistics:
        variable.assign(tf.fill(variable.shape, tf.constant(value, variable.dtype)))


def _kept(variable: keras.Variable, momentum: float) -> float:
    """Returns the share of a statistic that a pass from `PROBE` has kept: the momentum, to the power of the calls."""
    share = float(np.median(variable.numpy())) / PROBE
    if momentum == 0.0:
        return float(round(share))
    return momentum ** round(math.log(max(share, SMALLEST)) / math.log(momentum))
