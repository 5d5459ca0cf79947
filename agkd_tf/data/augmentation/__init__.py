"""Stateless training augmentation that runs inside the graph."""

from collections.abc import Callable

import tensorflow as tf

from agkd_tf.data.augmentation.crop_flip import crop_flip
from agkd_tf.data.augmentation.erasing import cutout
from agkd_tf.data.augmentation.idbh import idbh_strong, idbh_svhn, idbh_weak
from agkd_tf.errors import check_choice

__all__ = ["AUGMENTATIONS", "augment"]

AUGMENTATIONS: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "none": lambda images, seed: images,
    "crop_flip": crop_flip,
    "cutout": lambda images, seed: cutout(crop_flip(images, seed), seed),
    "idbh-weak": idbh_weak,
    "idbh-strong": idbh_strong,
    "idbh-svhn": idbh_svhn,
}


def augment(name: str, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Applies the augmentation called `name` to images, and returns them as float32 [B, H, W, C]."""
    return AUGMENTATIONS[check_choice("augmentation", name, sorted(AUGMENTATIONS))](images, seed)
