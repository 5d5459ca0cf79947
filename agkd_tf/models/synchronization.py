"""BN statistics over the whole batch of several replicas."""

import keras

from agkd_tf.keras_internals import all_layers


def synchronize_batch_normalization(model: keras.Model) -> None:
    """Makes each BN of a model take its training statistics over the batches of all replicas, in place.

    Without it each replica normalises by its own part of the batch.

    Args:
        model: `keras.Model`.
    """
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
