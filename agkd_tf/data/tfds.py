"""Reads image classification data sets of tensorflow-datasets into host memory or onto a disk."""

import contextlib
import math
import os
import re
import tempfile
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from agkd_tf.data.image_dataset import Examples, ImagesOnDisk, Official
from agkd_tf.errors import InputError, check_range

# The published augmentation (pad 4, random crop, flip), for the data sets that it was published for.
AUGMENTATION = {"cifar10": "crop_flip", "cifar100": "crop_flip", "tiny_imagenet": "crop_flip"}


class UnknownDatasetError(InputError):
    """Raised for a name that tensorflow-datasets does not know."""


def load(
    name: str,
    *,
    data_dir: str | None = None,
    manual_dir: str | None = None,
    download: bool = False,
    image_size: int | None = None,
    images_dir: str | None = None,
) -> Official:
    """Returns (train `Examples`, test `Examples`, class names, augmentation) of a TFDS data set.

    If a data set has no `test` split, its `validation` split takes that place.

    Args:
        name: a tensorflow-datasets name, for example `cifar10`.
        data_dir: folder of prepared data sets; None for tensorflow-datasets' own default.
        manual_dir: folder of archives fetched by hand, for data sets that take one.
        download: whether to fetch the data set from the network if it is not prepared.
        image_size: height and width that images are cropped and scaled to; None to keep their size.
        images_dir: folder for the decoded images, which are kept there in an anonymous temporary file that is deleted
            when they are no longer used; None for host memory.

    Raises:
        InputError: if the folder, the data set or one of its parts is missing.
    """
    import tensorflow_datasets as tfds  # slow to import, and not needed for `digits`

    check_data_dir(data_dir, download=download)
    try:
        tfds.builder_cls(re.split("[/:]", name)[0])
    except ValueError as error:
        raise UnknownDatasetError(f"`dataset` is not known to tensorflow-datasets. Received: {name!r}") from error
    with damage_told(name):
        builder = tfds.builder(name, data_dir=data_dir)
    return prepare_and_read(
        builder, manual_dir=manual_dir, download=download, image_size=image_size, images_dir=images_dir
    )


def check_data_dir(data_dir: str | None, *, download: bool) -> None:
    """Checks that a folder of prepared data sets exists, or that `download` allows to create it.

    Raises:
        InputError: if neither is so.
    """
    if data_dir is not None and not os.path.isdir(data_dir) and not download:
        raise InputError(f"`data_dir` is not a folder. Received: {data_dir!r}")


@contextlib.contextmanager
def damage_told(name: str) -> Iterator[None]:
    """In the block, turns errors of tensorflow-datasets about a damaged dataset_info.json into an `InputError`."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # damaged files can raise anything
        raise InputError(
            f"`dataset` {name!r}: its dataset_info.json is damaged, or this configuration or version does not exist: "
            f"{_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    """Returns the first line of an error's message, without the names of TensorFlow's nodes and iterators."""
    message = getattr(error, "message", str(error)) or type(error).__name__
    return re.sub(r"{{[^}]*}} ?|Error in user-defined function.* with iterator: \S*: ", "", message).splitlines()[0]


def prepare_and_read(
    builder: Any,
    *,
    manual_dir: str | None = None,
    download: bool = False,
    image_size: int | None = None,
    images_dir: str | None = None,
) -> Official:
    """Returns the same as `load` for a TFDS builder; prepares the data set first if necessary and allowed.

    Args:
        builder: a `tfds.core.DatasetBuilder`.
        manual_dir, download, image_size, images_dir: as in `load`.

    Raises:
        InputError: as in `load`.
    """
    import tensorflow_datasets as tfds

    if not builder.data_path.exists():
        if not (download or (manual_dir and builder.MANUAL_DOWNLOAD_INSTRUCTIONS)):
            raise InputError(
                f"`dataset` {builder.name!r} is not prepared in {builder.data_dir}: "
                "give the folder where it is, `data_dir=PATH`, or download it, `download=True`"
            )
        config = tfds.download.DownloadConfig(manual_dir=manual_dir)
        try:
            builder.download_and_prepare(download_config=config)
        except (
            OSError,
            AssertionError,  # an archive that must be fetched by hand is missing
            tfds.core.download.util.DownloadError,
            tfds.core.download.download_manager.NonMatchingChecksumError,
        ) as error:
            raise InputError(
                f"`dataset` {builder.name!r} cannot be prepared: {' '.join(str(error).split())}"
            ) from error
    return read(builder, image_size=image_size, images_dir=images_dir)


def read(builder: Any, *, image_size: int | None = None, images_dir: str | None = None) -> Official:
    """Returns the same as `load` for a TFDS builder whose data set is prepared."""
    import tensorflow_datasets as tfds

    splits, features = builder.info.splits, builder.info.features
    test = "test" if "test" in splits else "validation"
    for split in ("train", test):
        if split not in splits:
            raise InputError(f"`dataset` {builder.name!r} has no {split!r} split. It has: {', '.join(splits)}")
    if not {"image", "label"} <= set(features) or not isinstance(features["label"], tfds.features.ClassLabel):
        raise InputError(
            f"`dataset` {builder.name!r} is not for image classification: it needs an `image` and a class `label`"
        )
    train, tested = (_read_split(builder, split, image_size, images_dir) for split in ("train", test))
    return train, tested, tuple(features["label"].names), AUGMENTATION.get(builder.name, "none")


def _read_split(builder: Any, split: str, image_size: int | None, images_dir: str | None) -> Examples:
    import tensorflow_datasets as tfds

    count = builder.info.splits[split].num_examples
    if not count:
        raise InputError(f"`dataset` {builder.name!r} has no image in its {split!r} split")
    resize = resizing(image_size) if image_size is not None else None

    def keep(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        image = example["image"]
        if resize is not None:
            image = tf.saturate_cast(tf.round(resize(image)), tf.uint8)
        return {"image": image, "label": example["label"]}

    # Keeping the file order makes the first N images the same everywhere.
    config = tfds.ReadConfig(interleave_cycle_length=1)
    dataset = builder.as_dataset(split=split, shuffle_files=False, read_config=config)
    dataset = dataset.map(keep, num_parallel_calls=tf.data.AUTOTUNE)
    batch = 1 if None in dataset.element_spec["image"].shape else 1000
    images: np.ndarray | None = None
    labels, start = np.empty(count, np.int32), 0
    try:
        batches = dataset.batch(batch).prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
        # The progress bar appears only on a terminal, and only after 5 seconds.
        shown = {"total": -(-count // batch), "unit": " images", "unit_scale": batch, "delay": 5, "disable": None}
        for part in tqdm(batches, desc=f"Reading {builder.name}/{split}", leave=False, **shown):
            if images is None:
                images = room((count, *part["image"].shape[1:]), images_dir)
            if part["image"].shape[1:] != images.shape[1:]:
                raise InputError(
                    f"`dataset` {builder.name!r} has images of different sizes, such as {images.shape[1:]} and "
                    f"{part['image'].shape[1:]}: choose an `image_size`"
                )
            stop = start + len(part["label"])
            if stop > count:
                raise InputError(
                    f"`dataset` {builder.name!r} has more images in its {split!r} split than its description says"
                )
            images[start:stop], labels[start:stop] = part["image"], part["label"]
            start = stop
    except tf.errors.InvalidArgumentError as error:
        raise InputError(
            f"`dataset` {builder.name!r}: an image of its {split!r} split, after the first {start}, cannot be decoded: "
            f"{_first_line(error)}"
        ) from error
    except tf.errors.OpError as error:
        raise InputError(
            f"`dataset` {builder.name!r}: a file of its {split!r} split is damaged, missing or unreadable: "
            f"{_first_line(error)}"
        ) from error
    if images is None or start < count:
        raise InputError(
            f"`dataset` {builder.name!r} has {start} images in its {split!r} split, but its description says {count}"
        )
    return Examples(images if images_dir is None else ImagesOnDisk(images, np.arange(count)), labels)


def room(shape: tuple[int, ...], images_dir: str | None) -> np.ndarray:
    """Returns a uint8 array to write images to, in memory or in an anonymous temporary file.

    Args:
        shape: (N, H, W, C).
        images_dir: folder of the file; None for memory.

    Raises:
        InputError: if the file cannot be created, for example for lack of disk space.
    """
    if images_dir is None:
        return np.empty(shape, np.uint8)
    try:
        with tempfile.TemporaryFile(dir=images_dir) as file:
            # Reserve the space now: a full disk then raises an error here instead of a crash while writing.
            os.posix_fallocate(file.fileno(), 0, math.prod(shape))
            return np.memmap(file, np.uint8, "r+", shape=shape)
    except OSError as error:
        needed = f"{math.prod(shape) / 2**30:.2f} GiB"
        raise InputError(f"`images_dir` {images_dir} cannot hold {needed} of images: {error.strerror}") from error


def resizing(size: int) -> keras.layers.Layer:
    """Returns a layer that crops uint8 images to their central square and scales it to size x size, in float32.

    Raises:
        InputError: if the size is not positive.
    """
    check_range("image_size", size, 1)
    return keras.layers.Resizing(size, size, crop_to_aspect_ratio=True, antialias=True, dtype="float32")
