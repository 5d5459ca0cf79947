"""Adapts a network with other conventions to map images in [0, 1], NHWC, to logits."""

from collections.abc import Sequence
from typing import Literal

import keras
import numpy as np
from keras import layers

from agkd_tf.errors import InputError, check_choice
from agkd_tf.keras_internals import functional_of, run_without_input_layer
from agkd_tf.models.graph import Graph, Tensor
from agkd_tf.models.head import find_head, scores_maker
from agkd_tf.models.pixel_scale import PIXELS, check_pixel_scale

CHANNELS = ("last", "first")
OUTPUTS = ("logits", "probabilities")
FLOOR = 1e-30


def adapt(
    model: keras.Model,
    *,
    pixel_range: Sequence[float] = (0, 1),
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    channels: Literal["last", "first"] = "last",
    output: Literal["logits", "probabilities"] = "logits",
    logits: str | None = None,
) -> keras.Model:
    """Wraps a model with other conventions in a functional model from images in [0, 1], NHWC, to logits.

    Both models share their layers: training one trains the other, and both can be saved.

        model = agkd_tf.adapt(model, pixel_range=(0, 255))
        defense = agkd_tf.AdversarialTraining(model, eps=8 / 255)

    Args:
        model: a built `keras.Model` that takes one batch of images.
        pixel_range: (least, greatest) pixel value that the model takes.
        mean, std: standardisation that the model expects, one number or one per channel, in units of `pixel_range`:
            the model receives (pixels - mean) / std. None if it expects none, or standardises images itself.
        channels: "first" for a model that takes images [B, C, H, W].
        output: what the model returns: "logits"; or "probabilities" if its softmax cannot be found among its layers,
            in which case their logarithms are the logits. A softmax or sigmoid that is found is removed in either case.
        logits: path of the layer that makes the logits, such as `heads/coarse`, for a model with several outputs.

    Returns:
        A functional `keras.Model`: float32 [B, H, W, C] in [0, 1] -> float32 [B, n]; n is 2 if the model returns one
        score.

    Raises:
        InputError: if the values are not valid for images, the model has no logits, or it contradicts the values.
    """
    check_choice("channels", channels, CHANNELS)
    check_choice("output", output, OUTPUTS)
    graph = Graph(model)
    shape = graph.images.shape[1:]
    if channels == "first":
        shape = (*shape[1:], shape[0])
    scale, offset = pixel_scale_and_offset(pixel_range, mean, std, shape[-1])
    images = pixels = keras.Input(shape, name="images")
    if scale != 1.0 or offset != 0.0:
        pixels = layers.Rescaling(scale, offset, name=PIXELS, dtype="float32")(pixels)
    if channels == "first":
        pixels = layers.Permute((3, 1, 2), name="channels_first")(pixels)
    if output == "probabilities" and _hides_its_end(graph):
        scores = _logarithm(_run(model, pixels), graph.outputs[0])
    else:
        head = find_head(graph, logits=logits)
        if output == "probabilities" and head.logits is graph.outputs[0]:
            raise InputError(
                f"`output` of probabilities: the model ends in layer {head.logits.maker.path!r}, which has no softmax: "
                'use output="logits"'
            )
        if head.logits is graph.outputs[0]:
            scores = _run(model, pixels)
        else:
            scores = graph.run([head.logits], {graph.images: pixels}, training=None)[0]
    try:
        adapted = keras.Model(images, layers.Activation("linear", dtype="float32", name="logits_float32")(scores))
    except ValueError as error:
        raise InputError(f"`model` {model.name!r} cannot be adapted: {' '.join(str(error).split())}") from error
    check_pixel_scale(Graph(adapted))
    return adapted


def _run(model: keras.Model, pixels: keras.KerasTensor) -> keras.KerasTensor:
    """Returns a model's symbolic output; a functional model's layers are inlined instead of nested as a model."""
    functional = functional_of(model)
    if functional is None:
        return model(pixels)
    # Its input layer would cast to the input's own type, for example uint8, which has no gradient.
    return keras.tree.flatten(run_without_input_layer(functional, pixels))[0]


def _hides_its_end(graph: Graph) -> bool:
    """Returns whether a model's output is made by a layer that the library cannot look into."""
    if len(graph.outputs) != 1 or len(graph.outputs[0].shape) != 2:
        raise InputError("`output` of probabilities: the model must return one tensor [B, n]")
    return scores_maker(graph, graph.outputs[0]) is None


def _logarithm(probabilities: keras.KerasTensor, tensor: Tensor) -> keras.KerasTensor:
    if tensor.shape[1] == 1:
        probabilities = keras.ops.concatenate([1.0 - probabilities, probabilities], axis=1)
    return keras.ops.log(keras.ops.maximum(keras.ops.cast(probabilities, "float32"), FLOOR))


def pixel_scale_and_offset(
    pixel_range: Sequence[float],
    mean: float | Sequence[float] | None,
    std: float | Sequence[float] | None,
    channels: int,
    *,
    prefix: str = "",
    units: str = "pixel_range",
) -> tuple[float, float] | tuple[list[float], list[float]]:
    """Returns the (scale, offset) that map [0, 1] to what a model takes: numbers, or lists with one per channel.

    Args:
        pixel_range, mean, std: as in `adapt`.
        channels: number of channels.
        prefix: what messages put before "mean" and "std".
        units: how messages call the range that mean and std have the units of.

    Raises:
        InputError: if the values are not valid for images.
    """
    values = np.asarray(pixel_range, np.float64).reshape(-1)
    if len(values) != 2 or not np.isfinite(values).all() or values[0] >= values[1]:
        raise InputError(f"`pixel_range` must be (least, greatest), such as (0, 255). Received: {pixel_range}")
    low, high = values
    given = []
    for name, value, neutral in (("mean", mean, 0.0), ("std", std, 1.0)):
        each = np.asarray(neutral if value is None else value, np.float64).reshape(-1)
        if len(each) not in (1, channels) or not np.isfinite(each).all() or (name == "std" and (each <= 0).any()):
            raise InputError(
                f"`{prefix}{name}` must be one number, or one for each of the {channels} channels, in units of {units}"
                f"{', above 0' if name == 'std' else ''}. Received: {value}"
            )
        if value is not None and name == "mean" and not ((each >= low) & (each <= high)).all():
            raise InputError(
                f"`{prefix}mean` must lie in {units} ({low:g} to {high:g}), since it has the same units. "
                f"Received: {value}"
            )
        given.append(each)
    means, deviations = given
    scale, offset = ((high - low) / deviations).tolist(), ((low - means) / deviations).tolist()
    if len(set(scale)) == 1 and len(set(offset)) == 1:
        return scale[0], offset[0]
    width = max(len(scale), len(offset))
    return [(scale * width)[n] if len(scale) == 1 else scale[n] for n in range(width)], [
        (offset * width)[n] if len(offset) == 1 else offset[n] for n in range(width)
    ]
