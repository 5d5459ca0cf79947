"""A user's own images: a folder for each class."""

import os

import numpy as np

from agkd_tf.data.tfds import read
from agkd_tf.errors import InputError


def load(path, *, image_size=None, images_dir=None, **_):
    """Returns (train `Examples`, test `Examples`, class names, augmentation).

    The layout is PATH/train/CLASS/*.png (or .jpg, .jpeg) and PATH/test/CLASS/*.png; without a `test`
    folder, `validation` is the test split. The classes' numbers are the alphabetical order of their
    names. Images are read as RGB.

    Args:
        path: the folder.
        image_size: height and width that images are cropped and scaled to; None if all have one size.
        images_dir: as `agkd_tf.data.tfds.load`.

    Raises:
        InputError: if the folder has not that layout, fewer than two classes, a class without a training
            image, or images of many sizes.
    """
    import tensorflow_datasets as tfds  # slow to import

    if not os.path.isdir(os.path.join(path, "train")):
        raise InputError(
            f"`dataset` image_folder needs images in PATH/train/CLASS and PATH/test/CLASS. Received: {path!r}"
        )
    train, test, names, augmentation = read(tfds.ImageFolder(path), image_size=image_size, images_dir=images_dir)
    if len(names) < 2:
        raise InputError(f"`dataset` image_folder needs at least two classes. Received: {', '.join(names)}")
    counts = np.bincount(train.labels, minlength=len(names))
    if not counts.all():
        raise InputError(f"`dataset` image_folder has no training image of class {names[np.argmin(counts)]!r}")
    return train, test, names, augmentation
