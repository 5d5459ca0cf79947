"""Export to the state dicts of public PyTorch code."""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
from safetensors.numpy import save_file

from agkd_tf.checkpoints.families import FAMILIES, Family
from agkd_tf.checkpoints.readers import WRITER
from agkd_tf.checkpoints.torch_names import to_torch, variables_by_name
from agkd_tf.checkpoints.weighted_layers import weighted_layers
from agkd_tf.errors import InputError
from agkd_tf.files import replacing
from agkd_tf.models import Classifier
from agkd_tf.models.blocks import ACTIVATIONS
from agkd_tf.types import PathLike

SCALING = "scaling"  # the layer of `Blocks.images`, which is not part of PyTorch's networks
_STRUCTURE = ("filters", "kernel_size", "strides", "padding", "epsilon", "activation", "units", "use_bias", "pool_size")


class ExportedStateDict(NamedTuple):
    """What was written.

    Attributes:
        architecture: such as `wrn-28-10`, as `agkd_tf.import_weights` calls it.
        activation: "relu" or "silu".
        mean, std: PyTorch's network takes (images - mean) / std, for images in [0, 1].
        num_tensors: number of tensors.
    """

    architecture: str
    activation: str
    mean: list[float]
    std: list[float]
    num_tensors: int


def export_state_dict(model: keras.Model | Classifier, path: PathLike) -> ExportedStateDict:
    """Writes a network of `agkd_tf.models` as a state dict for the public PyTorch code of its architecture.

    A WRN has the names of TRADES, MART, AGKD-BML and RobustBench's `WideResNet`; other networks those of RobustBench or
    DeepMind. `agkd_tf.import_weights` reads the file back to the same bits. PyTorch's networks do not scale pixels:
    how to do that before them is returned, and stands in the file's metadata.

    Args:
        model: a `keras.Model`, a `Classifier`, or a `Defense`, whose student is exported.
        path: a .safetensors file.

    Returns:
        An `ExportedStateDict`.

    Raises:
        InputError: for another suffix, or a network that no public PyTorch code of these architectures computes.
        OSError: if the file cannot be written.
    """
    path = pathlib.Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"`output` must be a .safetensors file. Received: {str(path)!r}")
    network = model.model if isinstance(model, Classifier) else getattr(model, "student", model)
    family, sizes, activation = _recognized(network)
    scaling = network.get_layer(SCALING)
    scale, offset = np.asarray(scaling.scale, np.float64), np.asarray(scaling.offset, np.float64)
    mean, std = ([round(float(each), 9) for each in np.atleast_1d(values)] for values in (-offset / scale, 1 / scale))
    weights = {
        name: to_torch(np.asarray(variable)) for name, variable in variables_by_name(family, network, sizes).items()
    }
    said = {"writer": WRITER, "format": "pt", "architecture": family.title(sizes), "activation": activation}
    said["image_size"] = json.dumps(list(network.inputs[0].shape[1:3]))
    said |= {"pixel_mean": json.dumps(mean), "pixel_std": json.dumps(std)}
    with replacing(path) as temporary:
        save_file(weights, temporary, said)
    return ExportedStateDict(family.title(sizes), activation, mean, std, len(weights))


def _recognized(model: keras.Model) -> tuple[Family, dict[str, int], str]:
    """Returns (family, sizes, activation) of the network that a model is.

    A network of each family and activation with as many layers is built; it must be the same graph of the same layers.
    """
    try:
        layers = weighted_layers(model)
    except (InputError, AttributeError, ValueError) as error:
        raise InputError(f"a state dict is for networks built by agkd_tf.models: {error}") from error
    wanted = _graph(model)
    num_classes, image_shape = layers.dense.units, tuple(model.inputs[0].shape[1:])
    for family in FAMILIES:
        for sizes in _sizes(family, len(layers.normalizations), layers.dense.kernel.shape[0]):
            for activation in ACTIVATIONS:
                built = family.build(sizes, image_shape=image_shape, num_classes=num_classes, activation=activation)
                if _graph(built) == wanted:
                    return family, sizes, activation
    raise InputError(
        f"a state dict is for the networks {', '.join(family.name for family in FAMILIES)}; {model.name!r} is none of "
        "them: export it as a SavedModel"
    )


def _sizes(family: Family, normalizations: int, width: int) -> Iterator[dict[str, int]]:
    """Yields the sizes of a family's networks that have so many BN layers, and so many inputs of the dense layer."""
    if family.is_wide:
        stage, rest = divmod(normalizations - 1, 6)
        if not rest and stage and width % 64 == 0:
            yield {"depth": 6 * stage + 4, "width": width // 64}
        return
    for depth in (18, 34):
        if len(family.layer_names({"depth": depth})[1]) == normalizations and width == 512:
            yield {"depth": depth}


def _graph(model: keras.Model) -> list[tuple[Any, ...]]:
    """Returns a network's layers and what each receives, by the order of the layers instead of their names."""
    config = model.get_config()
    places = {layer["name"]: place for place, layer in enumerate(config["layers"])}
    return [
        (layer["class_name"], _structure(layer["config"]), [places[name] for name in _sources(layer["inbound_nodes"])])
        for layer in config["layers"]
    ]


def _structure(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(config[name]) for name in _STRUCTURE if name in config}


def _sources(nodes: Any) -> Iterator[str]:
    """Yields the names of the layers whose outputs a layer receives, in order."""
    if isinstance(nodes, Mapping):
        if "keras_history" in nodes:
            yield nodes["keras_history"][0]
        else:
            for each in nodes.values():
                yield from _sources(each)
    elif isinstance(nodes, list | tuple):
        for each in nodes:
            yield from _sources(each)
