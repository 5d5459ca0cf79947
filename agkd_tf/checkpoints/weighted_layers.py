"""The layers of a built network that have weights, in the order in which its builder made them."""

import re
from typing import NamedTuple

import keras

from agkd_tf.errors import InputError


class WeightedLayers(NamedTuple):
    """Layers, each kind in the order of `agkd_tf.models.blocks.Blocks`' calls.

    Attributes:
        convolutions: `Conv2D` layers without bias.
        normalizations: `BatchNormalization` layers.
        dense: the layer that makes the logits.
    """

    convolutions: list[keras.layers.Conv2D]
    normalizations: list[keras.layers.BatchNormalization]
    dense: keras.layers.Dense


def weighted_layers(model: keras.Model) -> WeightedLayers:
    """Returns the `WeightedLayers` of a network from `agkd_tf.models`, built here or loaded from a file.

    Keras numbers the layers of a class as they are made, and keeps their names in files, while the order of
    `model.layers` follows the graph.

    Raises:
        InputError: if the network has other layers with weights.
    """
    kinds: dict[type, list[keras.layers.Layer]] = {
        keras.layers.Conv2D: [],
        keras.layers.BatchNormalization: [],
        keras.layers.Dense: [],
    }
    for layer in model.layers:
        if not layer.weights:
            continue
        if type(layer) not in kinds or (type(layer) is keras.layers.Conv2D and layer.use_bias):
            raise InputError(f"layer {layer.name!r} ({type(layer).__name__}) is of no network from agkd_tf.models")
        kinds[type(layer)].append(layer)
    convolutions, normalizations, dense = kinds.values()
    if len(dense) != 1:
        raise InputError(f"the network must have one dense layer. Received: {len(dense)}")
    return WeightedLayers(sorted(convolutions, key=_number), sorted(normalizations, key=_number), dense[0])


def _number(layer: keras.layers.Layer) -> int:
    found = re.fullmatch(r"[a-z]+(?:2d|_normalization)(?:_(\d+))?", layer.name)
    if not found:
        raise InputError(f"layer {layer.name!r} is of no network from agkd_tf.models")
    return int(found[1] or 0)
