"""SHA-256 digests that identify a model, in hexadecimal."""

import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from agkd_tf.models.storage import weights_digest
from agkd_tf.types import PathLike

# The files that decide what a SavedModel computes. Its fingerprint.pb does not, and may be missing.
SAVED_MODEL_FILES = ("saved_model.pb", "variables/**/*", "assets/**/*")


def file_digest(path: PathLike) -> str:
    """Returns the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def saved_model_digest(folder: PathLike) -> str:
    """Returns the SHA-256 of a SavedModel, over the names and contents of its program, weights and assets."""
    folder = pathlib.Path(folder)
    paths = {path for pattern in SAVED_MODEL_FILES for path in folder.glob(pattern) if path.is_file()}
    lines = sorted(f"{path.relative_to(folder).as_posix()} {file_digest(path)}\n" for path in paths)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def network_digest(model: keras.Model, layers: Mapping[str, str | None] | None = None) -> str | None:
    """Returns the SHA-256 of a network, over its configuration and weights as a `.keras` file holds them.

    Layer names do not count, since Keras numbers layers as they are created: a network that is built again has the
    same digest. Which weights are trainable does not count either.

    Args:
        model: the network.
        layers: the layers that were chosen for its parts, name of the part -> path of the layer.

    Returns:
        Hexadecimal digits; None for a network without a configuration, such as a subclassed one without `get_config`.
    """
    try:
        config = keras.saving.serialize_keras_object(model.get_config())
        text = json.dumps([type(model).__name__, _without_names(config)], sort_keys=True)
    except Exception:  # a user's `get_config` may be missing or raise anything; a record then needs a `model_name`
        return None
    found = hashlib.sha256(text.encode())
    found.update(weights_digest(model))
    given = {part: path for part, path in (layers or {}).items() if path is not None}
    found.update(json.dumps(given, sort_keys=True).encode())
    return found.hexdigest()


def _without_names(config: Any) -> Any:
    """Returns a configuration whose layer names are replaced by numbers, in order of appearance."""
    layers = set(_layer_names(config))
    numbers: dict[str, str] = {}

    def number(name: str) -> str:
        return numbers.setdefault(name, f"#{len(numbers)}") if name in layers else name

    def walk(value: Any, kind: str = "") -> Any:
        if isinstance(value, Mapping):
            kind = str(value.get("class_name", kind))
            # The name of a dtype policy, such as float32, changes the computation and so stays.
            named = isinstance(value.get("name"), str) and not kind.endswith("Policy")
            return {
                key: number(each) if key == "name" and named else walk(each, kind)
                for key, each in value.items()
                if key != "trainable"
            }
        if isinstance(value, list | tuple):
            if len(value) == 3 and isinstance(value[0], str) and all(type(each) is int for each in value[1:]):
                return [number(value[0]), *value[1:]]  # a tensor: (layer, node index, tensor index)
            return [walk(each, kind) for each in value]
        return value

    return walk(config)


def _layer_names(config: Any) -> Iterator[str]:
    if isinstance(config, Mapping):
        if isinstance(config.get("layers"), list):
            yield from (each["name"] for each in (config, *_configs(config["layers"])) if "name" in each)
        for each in config.values():
            yield from _layer_names(each)
    elif isinstance(config, list | tuple):
        for each in config:
            yield from _layer_names(each)


def _configs(layers: list) -> list[Mapping]:
    return [each["config"] for each in layers if isinstance(each, Mapping) and isinstance(each.get("config"), Mapping)]
