"""Estimates what one forward pass costs per image: operations, and memory for the layers' outputs."""

import math

import keras
import numpy as np

from agkd_tf.models.graph import Graph


def forward_flops(model: keras.Model) -> list[tuple[str, int]]:
    """Returns the floating-point operations of a forward pass per image, as a list of (layer's path, operations).

    Counts Keras' Conv2D, DepthwiseConv2D and Dense layers in the order in which they run, including those of nested
    models. A multiplication and an addition count as two operations.
    """
    found = []
    for step in Graph(model).steps:
        layer, shape = step.operation, step.outputs[0].shape
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            places = shape[2:4] if layer.data_format == "channels_first" else shape[1:3]
            found.append((step.path, 2 * math.prod(layer.kernel.shape) * math.prod(size or 1 for size in places)))
        elif isinstance(layer, keras.layers.Dense):
            found.append((step.path, 2 * math.prod(layer.kernel.shape) * math.prod(size or 1 for size in shape[1:-1])))
    return found


def activation_bytes(model: keras.Model) -> int:
    """Returns the size of all layers' outputs per image, in bytes; unknown dimensions count as 1."""
    size = 0
    for step in Graph(model).steps:
        width = np.dtype("float32").itemsize if getattr(step.operation, "compute_dtype", "float32") == "float32" else 2
        size += sum(width * math.prod(each or 1 for each in tensor.shape[1:]) for tensor in step.outputs)
    return size
