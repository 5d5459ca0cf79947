"""Infers from a network's first layers and input type which pixel values it takes."""

import math
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from agkd_tf.errors import InputError
from agkd_tf.models.graph import Graph, Step, Tensor

PIXELS = "pixels"  # the layer that `adapt` puts in front
# The first layers of a network for [0, 1] map black and white to values that are 1, 2 or about 4 (standardised) apart;
# those of a network for 0..255, to 1 / 255 of that. Half a decade on both sides is left for unusual networks.
SPANS, LARGEST_OFFSET = (0.05, 25.0), 20.0
LARGEST_PIXELS = (255, 4095, 65535)


def check_pixel_scale(graph: Graph) -> None:
    """Checks that nothing in a network's first layers or input type contradicts images in [0, 1], NHWC.

    Black and white images are run through the layers before the first one with trained weights.

    Args:
        graph: `Graph`.

    Raises:
        InputError: if something does; the message says what to type.
    """
    name = graph.model.name
    shape = graph.images.shape[1:]
    first = next((step for step in graph.steps if _is_channels_first(step, graph)), None)
    if first is not None or (shape[0] in (1, 3, 4) and shape[2] not in (1, 2, 3, 4, None) and shape[1] == shape[2]):
        said = f"its layer {first.path!r} has channels first" if first else f"its input shape is {shape}"
        raise InputError(
            f"the classifier {name!r} takes images [B, C, H, W]: {said}. Images here are [B, H, W, C]. "
            "Use `agkd_tf.adapt(model, channels='first')`"
        )
    front = front_range(graph)
    if not front.adapted and _takes_integers(graph.model):
        raise InputError(
            f"the classifier {name!r} takes integer pixels ({graph.model.inputs[0].dtype}), to which images in [0, 1] "
            f"would be truncated. {_remedy(255)}"
        )
    if front.layer is None or not np.isfinite([front.black, front.white]).all():
        return
    made = f"its layer {front.layer!r} maps black to {front.black:.4g} and white to {front.white:.4g}"
    far_off = max(abs(front.black), abs(front.white)) > LARGEST_OFFSET * max(front.span, 1.0)
    if 0 < front.span < SPANS[0] or (far_off and front.span < SPANS[1]):
        largest = min(LARGEST_PIXELS, key=lambda each: abs(math.log(max(each * front.span, 1e-9))))
        raise InputError(
            f"the classifier {name!r} takes pixels in 0..{largest}: {made} for images in [0, 1]. {_remedy(largest)}"
        )
    if front.adapted and front.scales and front.span > SPANS[1]:
        raise InputError(
            f"the classifier {name!r} scales its pixels itself: {made} after `pixel_range` was applied. Leave out "
            "`pixel_range`"
        )


class Front(NamedTuple):
    """What the layers before the first one with trained weights do to black and white images.

    Attributes:
        adapted: whether one of these layers was added by `adapt`.
        scales: whether any other of them changes black or white.
        span: the smallest difference, of a channel, between black and white.
        black, white: the least output value for black, the greatest for white.
        layer: path of the last of these layers that changes black or white; None if none does.
    """

    adapted: bool
    scales: bool
    span: float
    black: float
    white: float
    layer: str | None


def front_range(graph: Graph) -> Front:
    """Returns the `Front` of a `Graph`."""
    chain, pixels = [graph.images], graph.images
    while True:
        users = [step for step in graph.steps if chain[-1] in step.inputs]
        if len(users) != 1 or not _is_in_front(users[0], chain[-1]):
            break
        chain.append(users[0].outputs[0])
        if users[0].path == PIXELS:
            pixels = chain[-1]
    shape = [1, *(size or 32 for size in graph.images.shape[1:])]
    # Values of each tensor in the chain for black and for white, per channel, at the centre, away from any padding.
    with tf.init_scope():  # runs eagerly even while a graph is being built, which has no values
        black, white = (
            [
                np.asarray(value, np.float32)[0, value.shape[1] // 2, value.shape[2] // 2]
                for value in graph.run(chain, {graph.images: tf.fill(shape, colour)}, training=False)
            ]
            for colour in (0.0, 1.0)
        )
    changes = [
        not (np.allclose(black[n], black[n - 1], atol=1e-6) and np.allclose(white[n], white[n - 1], atol=1e-6))
        for n in range(1, len(chain))
    ]
    changing = [tensor.maker.path for tensor, changed in zip(chain[1:], changes, strict=True) if changed]
    return Front(
        adapted=pixels is not graph.images,
        scales=any(path != PIXELS for path in changing),
        span=float(np.abs(white[-1] - black[-1]).min()),
        black=float(black[-1].min()),
        white=float(white[-1].max()),
        layer=changing[-1] if changing else None,
    )


def _is_in_front(step: Step, tensor: Tensor) -> bool:
    operation = step.operation
    if isinstance(operation, keras.Model) or len(step.inputs) != 1 or len(step.outputs) != 1:
        return False
    if isinstance(operation, keras.layers.Normalization):
        return True
    shape = step.outputs[0].shape
    return len(shape) == 4 and shape[-1] == tensor.shape[-1] and not getattr(operation, "weights", ())


def _is_channels_first(step: Step, graph: Graph) -> bool:
    """Returns whether a layer takes the images, or the scaled images, with channels first."""
    taken = [tensor for tensor in step.inputs if len(tensor.shape) == 4]
    if not taken or getattr(step.operation, "data_format", None) != "channels_first":
        return False
    tensor = taken[0]
    while tensor.step is not None and not getattr(tensor.step.operation, "weights", ()):
        if isinstance(tensor.step.operation, keras.layers.Permute) or len(tensor.step.inputs) != 1:
            return False
        tensor = tensor.step.inputs[0]
    return tensor is graph.images


def _remedy(largest: int) -> str:
    return f"Use `agkd_tf.adapt(model, pixel_range=(0, {largest}))`"


def _takes_integers(model: keras.Model) -> bool:
    inputs = getattr(model, "inputs", None) or []
    return any("int" in str(each.dtype) for each in inputs[:1])
