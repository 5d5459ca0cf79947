"""Tells on labelled images whether a network takes the pixels that it is given."""

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import keras
import numpy as np

from agkd_tf.checkpoints.pixels import KNOWN, Pixels
from agkd_tf.data.pixels import as_float
from agkd_tf.errors import InputError, Note
from agkd_tf.intervals import wilson_interval
from agkd_tf.models import Classifier
from agkd_tf.models.adapt import pixel_scale_and_offset
from agkd_tf.types import Array

SCALING = "scaling"  # the layer that `Blocks.images` puts in front
BATCH = 100


class PixelCheck(NamedTuple):
    """Accuracies of one network on the same images, by the pixels that it receives.

    Attributes:
        own: accuracy with the network's own pixels.
        others: what other pixels are called -> accuracy.
        num_examples: number of images.
    """

    own: float
    others: Mapping[str, float]
    num_examples: int


def check_pixels(model: keras.Model, images: Array, labels: Array) -> PixelCheck:
    """Compares the accuracy of an imported network with the one that other pixels would give it.

    Args:
        model: from `import_weights`.
        images: float in [0, 1] or uint8 in 0-255, [N, H, W, C]; a hundred are enough.
        labels: integers [N].

    Returns:
        The `PixelCheck`.

    Warns:
        Note: if other pixels give an accuracy whose 95 % interval lies above that of the network's own.

    Raises:
        InputError: if the accuracy is near chance, and other pixels give a far better one; or for labels that are no
            classes of the network.
    """
    classifier = Classifier(model)
    labels = np.asarray(labels)
    if labels.max(initial=0) >= classifier.num_classes:
        raise InputError(
            f"the network has {classifier.num_classes} classes, but the images have labels up to {labels.max()}"
        )
    pixels = np.asarray(as_float(np.asarray(images)))
    channels = pixels.shape[-1]
    if SCALING not in {layer.name for layer in model.layers}:
        raise InputError("the network was not made by `import_weights`: it has no layer that scales its pixels")
    layer = model.get_layer(SCALING)
    scale, offset = np.asarray(layer.scale, np.float32), np.asarray(layer.offset, np.float32)

    def accuracy(given: np.ndarray) -> float:
        parts = [classifier.logits(given[start : start + BATCH]) for start in range(0, len(given), BATCH)]
        return float((np.concatenate(parts).argmax(1) == labels).mean())

    own, others = accuracy(pixels), {}
    for title, (mean, std) in KNOWN.items():
        if channels in (len(mean), channels if len(mean) == 1 else -1):
            other_scale, other_offset = pixel_scale_and_offset((0, 1), mean, std, channels)
            # What the network would receive, as images that its own layer maps there.
            received = pixels * np.asarray(other_scale, np.float32) + np.asarray(other_offset, np.float32)
            if not np.allclose(received, pixels * scale + offset, atol=1e-3):
                others[title] = accuracy(((received - offset) / scale).astype(np.float32))
    check = PixelCheck(own, others, len(labels))
    _judge(check, classifier.num_classes)
    return check


def _judge(check: PixelCheck, num_classes: int) -> None:
    if not check.others:
        return
    title = max(check.others, key=lambda name: check.others[name])
    best = check.others[title]
    of_own, of_best = (
        wilson_interval(round(each * check.num_examples), check.num_examples) for each in (check.own, best)
    )
    if of_best[0] <= of_own[1]:
        return
    chosen = Pixels(*KNOWN[title], "").as_flags()
    said = f"on {check.num_examples:,} images its accuracy is {check.own:.1%}, and {best:.1%} with {title}: {chosen}"
    if check.own < max(2 / num_classes, best / 2):
        raise InputError(f"the network takes other pixels than these: {said}")
    warnings.warn(f"the network may take other pixels than these: {said}", Note, stacklevel=3)
