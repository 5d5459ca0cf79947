"""Network architectures, and `Classifier`, the view of a network that all other packages work with."""

import re
from collections.abc import Callable
from typing import Unpack

import keras

from agkd_tf.errors import InputError
from agkd_tf.models.adapt import adapt
from agkd_tf.models.blocks import ACTIVATIONS, Body
from agkd_tf.models.classifier import Classifier, Outputs, logits_of
from agkd_tf.models.mobilenet import mobilenet
from agkd_tf.models.preact_resnet import preact_resnet
from agkd_tf.models.remove_softmax import remove_softmax
from agkd_tf.models.resnet import resnet
from agkd_tf.models.vgg import vgg
from agkd_tf.models.wide_resnet import wide_resnet
from agkd_tf.types import ImageShape

# Pattern of the name -> (builder, the arguments that the pattern's groups set).
MODELS: dict[str, tuple[Callable[..., keras.Model], tuple[str, ...]]] = {
    r"wrn-(\d{1,3})-(\d{1,3})": (wide_resnet, ("depth", "width")),
    r"resnet-(\d{1,3})": (resnet, ("depth",)),
    r"preact-resnet-(\d{1,3})": (preact_resnet, ("depth",)),
    r"vgg-(\d{1,3})": (vgg, ("depth",)),
    "mobilenet-v2": (mobilenet, ()),
}
MODEL_NAMES = (
    "wrn-DEPTH-WIDTH (for example wrn-28-10)",
    "resnet-18 or -34",
    "resnet-38, -50, -101 or -152 (64x64 images)",
    "preact-resnet-18 or -34",
    "vgg-11, -13, -16 or -19",
    "mobilenet-v2",
)

__all__ = [
    "ACTIVATIONS",
    "MODELS",
    "Classifier",
    "Outputs",
    "adapt",
    "build_model",
    "logits_of",
    "mobilenet",
    "preact_resnet",
    "remove_softmax",
    "resnet",
    "vgg",
    "wide_resnet",
]


def build_model(name: str, *, image_shape: ImageShape, num_classes: int, **body: Unpack[Body]) -> keras.Model:
    """Builds the network called `name`, which maps images in [0, 1] to logits.

    Args:
        name: for example `wrn-28-10`.
        image_shape: (H, W, C).
        num_classes: number of logits.
        **body: as `agkd_tf.models.blocks.Blocks`: `dtype`, such as "mixed_bfloat16"; `seed`, which fixes the initial
            weights; `activation`; `input_mean` and `input_std`.

    Raises:
        InputError: if no network has that name, or for settings that networks do not have.
    """
    for pattern, (builder, settings) in MODELS.items():
        match = re.fullmatch(pattern, name)
        if match:
            sizes = dict(zip(settings, map(int, match.groups()), strict=True))
            return builder(**sizes, image_shape=image_shape, num_classes=num_classes, **body)
    raise InputError(f"`model` must be one of {', '.join(MODEL_NAMES)}. Received: {name!r}")
