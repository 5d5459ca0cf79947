"""Data sets, their batches, augmentation and class-indexed pools."""

import functools

from agkd_tf.data import digits, tfds
from agkd_tf.data.class_pool import ClassPool
from agkd_tf.data.image_dataset import Examples, ImageDataset, check_examples
from agkd_tf.data.splits import hold_out_validation
from agkd_tf.errors import check_choice

DATASETS = {
    "cifar10": functools.partial(tfds.load, "cifar10"),
    "digits": digits.load,
}

__all__ = ["DATASETS", "ClassPool", "Examples", "ImageDataset", "load_dataset"]


def load_dataset(dataset, *, data_dir=None, download=False, train_examples=None, validation_examples=None):
    """Returns an `ImageDataset`.

    Args:
        dataset: one of `DATASETS`.
        data_dir: folder of prepared tensorflow-datasets.
        download: whether a data set that is not prepared may be fetched.
        train_examples: train on the first so many images of the training split; None or 0 for all.
        validation_examples: images held out of the training split; None for a tenth of it.

    Raises:
        InputError: for an unknown name, missing data, or more examples than there are.
    """
    load = DATASETS[check_choice("dataset", dataset, sorted(DATASETS))]
    official, test, class_names, augmentation = load(data_dir=data_dir, download=download)
    train, validation = hold_out_validation(
        official,
        train_examples=train_examples,
        validation_examples=max(1, len(official) // 10) if validation_examples is None else validation_examples,
    )
    for split, examples in (("train", train), ("validation", validation), ("test", test)):
        check_examples(f"{dataset}/{split}", examples, len(class_names))
    return ImageDataset(dataset, class_names, train, validation, test, augmentation)
