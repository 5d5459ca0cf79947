"""BN statistics, estimated anew for weights that have not been trained with."""

from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf

from agkd_tf.errors import InputError
from agkd_tf.keras_internals import all_layers


def estimate_batch_statistics(
    model: keras.Model, passes: Callable[[tf.Tensor], object], batches: Iterable[tf.Tensor]
) -> list[tuple[keras.Variable, np.ndarray]]:
    """Returns (variable, value) of each moving statistic: the mean over some batches of the batches' own statistics.

    The model is left as it was. BN layers that are frozen are left out; every other one must take part in a pass once.

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
            for variable, _ in statistics:
                variable.assign(tf.zeros_like(variable.value))
            run(images)
            # From 0, a pass leaves (1 - momentum) times the statistic of its batch.
            for total, (variable, momentum) in zip(sums, statistics, strict=True):
                total += variable.numpy() / (1.0 - momentum)
            count += 1
    finally:
        for variable, value in before:  # also the state of random layers
            variable.assign(value)
    if not count:
        raise InputError("BN statistics cannot be estimated without images")
    return [(variable, total / count) for (variable, _), total in zip(statistics, sums, strict=True)]
