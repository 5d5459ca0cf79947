"""Floating-point operations of a network's convolutions and matrix products."""

import math

import keras

from agkd_tf.models.graph import Graph


def forward_flops(model: keras.Model) -> list[tuple[str, int]]:
    """Returns the floating-point operations of a forward pass per image: list of (layer's name, operations).

    Counts Keras' Conv2D and Dense layers, those of models within the model too, in their order; a multiplication and an
    addition are two.
    """
    found = []
    for step in Graph(model).steps:
        layer, shape = step.operation, step.outputs[0].shape
        if isinstance(layer, keras.layers.Conv2D):
            places = shape[2:4] if layer.data_format == "channels_first" else shape[1:3]
            found.append((step.path, 2 * math.prod(layer.kernel.shape) * math.prod(size or 1 for size in places)))
        elif isinstance(layer, keras.layers.Dense):
            found.append((step.path, 2 * math.prod(layer.kernel.shape) * math.prod(size or 1 for size in shape[1:-1])))
    return found
