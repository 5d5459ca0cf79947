"""Finds the activation function of a layer, by name, and removes it."""

from typing import Any

import keras

from agkd_tf.errors import InputError
from agkd_tf.keras_internals import share_kernel

# keras.activations, keras.ops, tf.nn and the layers each name them differently.
_SYNONYMS = {"softmax_v2": "softmax", "log_softmax_v2": "log_softmax", "logsoftmax": "log_softmax"}
_LAYERS = (
    keras.layers.ELU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ReLU,
    keras.layers.Softmax,
)
KNOWN = {name for name in dir(keras.activations) if not name.startswith("_")} - {"deserialize", "get", "serialize"}


def activation_name(operation: keras.Operation) -> str | None:
    """Returns the activation's name if a Keras layer or operation is itself an activation, else None."""
    if isinstance(operation, keras.layers.Activation):
        return _named(operation.activation)
    if isinstance(operation, _LAYERS):
        return _named(operation)
    if isinstance(operation, keras.layers.Layer):
        return None
    name = _named(operation)  # keras.ops' own classes: Softmax, Relu, HardSigmoid
    return name if name in KNOWN else None


def own_activation_name(operation: keras.Operation) -> str:
    """Returns the name of the activation built into a dense layer or a convolution; `linear` for none."""
    activation = getattr(operation, "activation", None)
    return "linear" if activation is None else _named(activation)


def linear_twin(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Returns a layer that shares the weights of a dense layer or a convolution but has no activation.

    Raises:
        InputError: for a layer that is more than a kernel and a bias: of a user's own class, quantized, or with LoRA.
    """
    plain = type(layer) in (keras.layers.Dense, keras.layers.Conv2D)
    if not plain or layer.quantization_mode or layer.lora_enabled:
        kind = "has LoRA" if plain and layer.lora_enabled else f"is a {type(layer).__name__}"
        raise InputError(
            f"layer {layer.name!r}, which {kind}, ends in {own_activation_name(layer)}, which cannot be removed: "
            "end the model with its logits, without an activation"
        )
    twin = type(layer).from_config(layer.get_config() | {"activation": "linear"})
    twin.built, twin.input_spec = True, layer.input_spec
    share_kernel(twin, layer)
    twin.bias = layer.bias
    return twin


def _named(activation: Any) -> str:
    name = getattr(activation, "__name__", None)
    if name is None:
        name = "".join("_" + letter if letter.isupper() else letter for letter in type(activation).__name__)
        name = {"_re_l_u": "relu", "_soft_max": "softmax"}.get(name.lower(), name.lower().lstrip("_"))
    return _SYNONYMS.get(name, name)
