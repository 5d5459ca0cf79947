"""The weights of a wide residual network in the form that the scripts in `peers` read."""

import re
from typing import Any

import keras
import numpy as np


def numbered_weights(model: keras.Model) -> dict[str, Any]:
    """Returns the network's weights by kind of layer, numbered in the order in which the layers were built."""

    def numbered(prefix: str) -> list[keras.layers.Layer]:
        layers = [layer for layer in model.layers if re.fullmatch(rf"{prefix}(_\d+)?", layer.name)]
        return sorted(layers, key=lambda layer: int(layer.name.removeprefix(prefix).lstrip("_") or 0))

    arrays = {f"conv_{k}": layer.get_weights()[0] for k, layer in enumerate(numbered("conv2d"))}
    arrays |= {f"bn_{k}": np.stack(layer.get_weights()) for k, layer in enumerate(numbered("batch_normalization"))}
    return arrays | {f"dense_{k}": weight for k, weight in enumerate(model.get_layer("logits").get_weights())}
