"""BN statistics over the whole batch of several replicas."""

import keras


def synchronize_batch_normalization(model):
    """Makes each BN of a model take its training statistics over the batches of all replicas, in place.

    Without it each replica normalises by its own part of the batch.

    Args:
        model: `keras.Model`.
    """
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
