"""IDBH: improved diversity and balanced hardness, augmentations for adversarial training.

    flip (1/2), CropShift, ColorShape, random erasing

Source: Li and Spratling, Data Augmentation Alone Can Improve Adversarial Training, ICLR 2023. The constants are those
of the released code.
"""

import tensorflow as tf

from agkd_tf.data.augmentation.color_shape import COLOR, SHAPE, Operation, color_shape
from agkd_tf.data.augmentation.crop_flip import flip
from agkd_tf.data.augmentation.crop_shift import crop_shift
from agkd_tf.data.augmentation.erasing import random_erasing


def idbh_weak(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """The form for small networks on CIFAR: half of the images are erased. Arguments as `idbh`."""
    return idbh(images, seed, shift=11, operations=COLOR, erased=0.5, largest_area=0.33)


def idbh_strong(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """The form for large networks on CIFAR: all images are erased. Arguments as `idbh`."""
    return idbh(images, seed, shift=11, operations=COLOR, erased=1.0, largest_area=0.33)


def idbh_svhn(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """The form for SVHN: smaller shifts, mostly shapes, larger erased areas; digits are flipped, too, as published.

    Arguments as `idbh`.
    """
    return idbh(images, seed, shift=9, operations=SHAPE, erased=1.0, largest_area=0.5)


def idbh(
    images: tf.Tensor,
    seed: tf.Tensor,
    *,
    shift: int,
    operations: tuple[Operation, ...],
    erased: float,
    largest_area: float,
) -> tf.Tensor:
    """Flips, crops and shifts, changes colours or shapes, and erases; all draws are per image.

    Args:
        images: float32 [B, H, W, C] in [0, 1].
        seed: int32 [2].
        shift: CropShift takes fewer than so many pixels away.
        operations: of ColorShape.
        erased, largest_area: probability and largest area of random erasing.

    Returns:
        float32 [B, H, W, C] in [0, 1].

    Raises:
        InputError: as `crop_shift` and `color_shape`.
    """
    images = crop_shift(flip(images, seed), seed, low=0, high=shift)
    images = color_shape(images, seed, operations=operations)
    return random_erasing(images, seed, probability=erased, largest_area=largest_area)
