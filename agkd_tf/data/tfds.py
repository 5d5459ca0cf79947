"""Image classification data sets of tensorflow-datasets, read into host memory."""

import os

import numpy as np

from agkd_tf.data.image_dataset import Examples
from agkd_tf.errors import InputError

# Published augmentation (pad 4, random crop, flip) of the data sets it is published for.
AUGMENTATION = {"cifar10": "crop_flip", "cifar100": "crop_flip"}


def load(name, *, data_dir=None, download=False):
    """Returns (train `Examples`, test `Examples`, class names, augmentation) of a TFDS data set.

    Args:
        name: a tensorflow-datasets name, for example `cifar10`.
        data_dir: folder of prepared data sets; None for tensorflow-datasets' own default.
        download: whether the data set may be fetched from the network where it is not prepared.

    Raises:
        InputError: if the folder, the data set or one of its parts is missing.
    """
    import tensorflow_datasets as tfds  # slow to import, and not needed for `digits`

    if data_dir is not None and not os.path.isdir(data_dir) and not download:
        raise InputError(f"`data_dir` is not a folder. Received: {data_dir!r}")
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, tfds.core.registered.DatasetNotFoundError) as error:
        raise InputError(f"`dataset` is not known to tensorflow-datasets. Received: {name!r}") from error
    if not builder.data_path.exists():
        if not download:
            raise InputError(
                f"`dataset` {name!r} is not prepared in {builder.data_dir}: "
                "give its folder with --data_dir, or --download to fetch it"
            )
        builder.download_and_prepare()
    for split in ("train", "test"):
        if split not in builder.info.splits:
            raise InputError(f"`dataset` {name!r} has no {split!r} split. It has: {', '.join(builder.info.splits)}")
    if not {"image", "label"} <= set(builder.info.features):
        raise InputError(f"`dataset` {name!r} has no `image` and `label`: it is not image classification")
    names = tuple(builder.info.features["label"].names)
    train, test = (_read(builder, split) for split in ("train", "test"))
    return train, test, names, AUGMENTATION.get(name, "none")


def _read(builder, split):
    import tensorflow_datasets as tfds

    # Keeping the file order makes the first N images the same images everywhere.
    config = tfds.ReadConfig(interleave_cycle_length=1)
    dataset = builder.as_dataset(split=split, shuffle_files=False, read_config=config)
    count = builder.info.splits[split].num_examples
    shape = builder.info.features["image"].shape
    if None in shape:
        raise InputError(f"`dataset` {builder.name!r} has images of many sizes: {shape}")
    images, labels = np.empty((count, *shape), np.uint8), np.empty(count, np.int32)
    start = 0
    for batch in dataset.batch(1000).as_numpy_iterator():
        stop = start + len(batch["label"])
        images[start:stop], labels[start:stop] = batch["image"], batch["label"]
        start = stop
    return Examples(images, labels)
