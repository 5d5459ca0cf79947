"""scikit-learn's handwritten digits: 1,797 real 8x8 images that ship inside the package."""

from typing import Any

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from agkd_tf.data.image_dataset import Examples, Official
from agkd_tf.data.splits import SPLIT_SEED
from agkd_tf.errors import InputError, check_range

SIDE = 16  # gives a network with total stride 4 attention maps of 4x4
TEST_EXAMPLES = 400


def load(*, image_size: int | None = None, images_dir: str | None = None, **_: Any) -> Official:
    """Returns (official train `Examples`, test `Examples`, class names, augmentation).

    The 8x8 images are enlarged by bilinear interpolation. The package defines no official splits: here 400
    images, stratified by class, form the test split.

    Args:
        image_size: height and width of the enlarged images; None for 16.
        images_dir: must be None, since the images are not read from a disk.

    Raises:
        InputError: for a wrong `image_size`, or if `images_dir` is given.
    """
    if images_dir is not None:
        raise InputError("`images_dir` is for data sets that are read from disk, not for digits: leave it out")
    side = SIDE if image_size is None else check_range("image_size", image_size, 8)
    bunch = load_digits()
    small = (bunch.images / 16.0).astype(np.float32)[..., None]
    images = tf.image.resize(small, (side, side)).numpy()
    images = np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)
    labels = bunch.target.astype(np.int32)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=TEST_EXAMPLES, random_state=SPLIT_SEED, stratify=labels
    )
    names = tuple(str(name) for name in bunch.target_names)
    return Examples(images[train], labels[train]), Examples(images[test], labels[test]), names, "none"
