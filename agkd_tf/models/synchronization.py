"""Synchronises BN statistics over the replicas that share a batch."""

import keras

from agkd_tf.keras_internals import all_layers


def synchronize_batch_normalization(model: keras.Model) -> None:
    """Makes each BN layer of a model compute its training statistics over all replicas' batches, in place.

    Without this, each replica normalises by its own part of the batch.

    Args:
        model: `keras.Model`.
    """
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
