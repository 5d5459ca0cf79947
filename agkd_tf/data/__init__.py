"""Data sets, their batches, augmentation and class-indexed pools."""

import functools
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from agkd_tf.data import digits, image_folder, tfds
from agkd_tf.data.class_names import numbered_by
from agkd_tf.data.class_pool import ClassPool
from agkd_tf.data.device_images import DeviceImages
from agkd_tf.data.image_dataset import Examples, ImageDataset, Official, check_examples
from agkd_tf.data.splits import hold_out_validation
from agkd_tf.errors import InputError, check_range


def _tiny_imagenet(**place: Any) -> Official:
    from agkd_tf.data import tiny_imagenet  # imports tensorflow-datasets, which is slow

    return tiny_imagenet.load(**place)


DATASETS: dict[str, Callable[..., Official]] = {
    "cifar10": functools.partial(tfds.load, "cifar10"),
    "cifar100": functools.partial(tfds.load, "cifar100"),
    "digits": digits.load,
    "svhn_cropped": functools.partial(tfds.load, "svhn_cropped"),
    "tiny_imagenet": _tiny_imagenet,
}
IMAGE_FOLDER = "image_folder:"
DATASET_NAMES = (*sorted(DATASETS), f"{IMAGE_FOLDER}PATH", "or any image classification set of tensorflow-datasets")

__all__ = ["DATASETS", "DATASET_NAMES", "ClassPool", "DeviceImages", "Examples", "ImageDataset", "load_dataset"]


def load_dataset(
    dataset: str,
    *,
    data_dir: Annotated[str | None, "Folder of prepared tensorflow-datasets."] = None,
    manual_dir: Annotated[
        str | None, "Folder of archives fetched by hand; the data set is prepared from them into `data_dir`."
    ] = None,
    download: Annotated[bool, "Fetch the data set from the network if it is not prepared."] = False,
    image_size: int | None = None,
    images_dir: Annotated[
        str | None,
        "Folder on a fast disk that holds the decoded images while the program runs, for a data set that does not fit "
        "into host memory; host memory if not given.",
    ] = None,
    train_examples: int | None = None,
    validation_examples: int | None = None,
    class_names: Sequence[str] | None = None,
    skip_damaged: Annotated[bool, "image_folder: skip files that cannot be decoded, and list them."] = False,
    training: bool = True,
) -> ImageDataset:
    """Loads a data set and returns it as an `ImageDataset` with train, validation and test splits.

    Args:
        dataset: one of `DATASETS`, `image_folder:PATH` (see `agkd_tf.data.image_folder`), or the name of
            another image classification set of tensorflow-datasets.
        image_size: height and width that images are cropped and scaled to; None to keep their size.
        train_examples: train on the first N images of the training split; None for all.
        validation_examples: number of images held out of the training split; None for a tenth of it. If an image
            folder has its own validation split, use the first N images of that; None for all.
        class_names: a model's class names; the data's labels are renumbered to match them (see
            `agkd_tf.data.class_names`). None keeps the data's own numbering.
        training: whether training images are needed; if False, an image folder may contain only test images.

    Warns:
        Note: says what was left out of an image folder or guessed about it, and whether labels were renumbered.

    Raises:
        InputError: for an unknown name, missing data, more examples than the data set has, or a class that is not
            in `class_names`.
    """
    own: Examples | None = None
    place: dict[str, Any] = {"image_size": image_size, "images_dir": images_dir}
    if dataset.startswith(IMAGE_FOLDER):
        place |= {"skip_damaged": skip_damaged, "training": training, "min_classes": 2 if class_names is None else 1}
        official, own, test, names = image_folder.load(dataset.removeprefix(IMAGE_FOLDER), **place)
        augmentation = "none"
    elif skip_damaged:
        raise InputError(f"`skip_damaged` is for {IMAGE_FOLDER}PATH. Received: `dataset` {dataset}")
    else:
        place |= {"data_dir": data_dir, "manual_dir": manual_dir, "download": download}
        official, test, names, augmentation = _loader(dataset)(**place)
    train, validation = _train_and_validation(official, own, train_examples, validation_examples)
    for split, examples in (("train", train), ("validation", validation), ("test", test)):
        check_examples(f"{dataset}/{split}", examples, len(names))
    found = ImageDataset(dataset, names, train, validation, test, augmentation)
    return found if class_names is None else numbered_by(found, class_names)


def _train_and_validation(
    official: Examples, own: Examples | None, train_examples: int | None, validation_examples: int | None
) -> tuple[Examples, Examples]:
    """Returns (train, validation) `Examples`: the user's own splits, or parts of the official training split."""
    if not len(official):
        if train_examples or (validation_examples and own is None):
            raise InputError("`train_examples` and `validation_examples` need training images, but there are none")
        return official, official if own is None else _first("validation_examples", own, validation_examples)
    if own is not None:
        return _first("train_examples", official, train_examples), _first(
            "validation_examples", own, validation_examples
        )
    return hold_out_validation(
        official,
        train_examples=train_examples,
        validation_examples=max(1, len(official) // 10) if validation_examples is None else validation_examples,
    )


def _first(name: str, examples: Examples, count: int | None) -> Examples:
    """Returns the first `count` examples, or all of them for None."""
    return examples if not count else examples.take(slice(0, check_range(name, count, 1, len(examples))))


def _loader(dataset: str) -> Callable[..., Official]:
    return DATASETS[dataset] if dataset in DATASETS else functools.partial(_other, dataset)


def _other(name: str, **place: Any) -> Official:
    _, colon, version = name.rpartition(":")
    if colon and not re.fullmatch(r"[\d*]+\.[\d*]+\.[\d*]+", version):
        # A namespace such as Hugging Face's: tensorflow-datasets would fetch its data without being asked.
        raise InputError(
            f"`dataset` must be one of {', '.join(DATASET_NAMES)}, without a namespace. Received: {name!r}"
        )
    try:
        return tfds.load(name, **place)
    except tfds.UnknownDatasetError as error:
        raise InputError(f"`dataset` must be one of {', '.join(DATASET_NAMES)}. Received: {name!r}") from error
