"""Checks the data that a user gives to `fit`, `evaluate` and `predict`, in any form, on the host.

Arrays are checked once, everything else batch by batch as it is read: a compiled step cannot raise such errors.
"""

import contextlib
import re
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from agkd_tf.data.labels import as_labels
from agkd_tf.data.pixels import check_pixels, check_shape, check_type
from agkd_tf.errors import InputError
from agkd_tf.types import Array, ImageShape

KEYS = ("image", "label", "index", "valid")
KINDS = "arrays, a tf.data.Dataset, a Python generator or a keras.utils.PyDataset"


class InputChecks(NamedTuple):
    """The requirements that images and labels must meet.

    Attributes:
        image_shape: (H, W, C); None for any size.
        num_classes: number of classes; None if it is not known.
        labelled: whether labels are needed; if not, batches are reduced to their images.
        num_examples: number of training examples; each `index` must be less. None if there is no limit.
    """

    image_shape: ImageShape
    num_classes: int | None
    labelled: bool = True
    num_examples: int | None = None

    def source(self, x: Any, y: Array | None = None) -> tuple[Any, Any]:
        """Returns (x, y) for Keras, with the same batches as the arguments, but checked and with int32 labels.

        Args:
            x: images, or a dict of `KEYS`, as arrays, tensors or lists; or a dataset, generator or PyDataset of
                batches. A dataset that is already distributed is returned unchanged.
            y: labels, if `x` are arrays.

        Raises:
            InputError: for data that do not meet the requirements. Anything but arrays raises it while it is read
                (see `input_errors`).
        """
        if isinstance(x, tf.data.Dataset):
            self._check_alone(y)
            return self._dataset(x), None
        if hasattr(x, "element_spec"):
            for spec in tf.nest.flatten(x.element_spec, expand_composites=True):
                if spec.shape.rank == 4 and spec.dtype != tf.uint8:
                    raise InputError(
                        "float images of a distributed dataset cannot be checked: give uint8 images, or the "
                        "tf.data.Dataset itself, which fit distributes"
                    )
            return x, y
        if isinstance(x, keras.utils.PyDataset):
            self._check_alone(y)
            return _CheckedPyDataset(x, self), None
        if isinstance(x, types.GeneratorType):
            self._check_alone(y)
            return (self.batch(each) for each in x), None
        if not hasattr(x, "shape") and not isinstance(x, dict | list | tuple):
            hint = "; for other iterables x, (batch for batch in x) makes a generator" if hasattr(x, "__iter__") else ""
            raise InputError(f"data must be {KINDS}{hint}. Received: {type(x).__name__}")
        checked = self.batch(x if y is None else (x, y), whole=True)
        return checked if len(checked) == 2 else (*checked, None)

    def batch(self, data: Any, *, whole: bool = False) -> tuple[Any, ...]:
        """Checks a batch and returns it: (images, int32 labels), (dict of them,), or (images,) if not labelled.

        Args:
            data: (images, labels), a dict of `KEYS`, or either of them in a tuple; if not labelled, images alone too.
            whole: whether `data` are all the data, not one batch; images alone may then be a list.
        """
        images, labels, index, rest = self._parts(data, whole=whole)
        if images is not None:
            images = as_array(images)
            check_shape(images, self.image_shape)
            if not images.shape[0]:
                raise InputError("there are no images: the data are empty")
            check_pixels(images)
        if not self.labelled:
            return (images,)
        labels = as_labels(labels, self.num_classes, count=None if images is None else images.shape[0])
        if index is not None:
            index = self._checked_index(index, len(labels))
        if isinstance(rest, dict):
            found = {"image": images, "label": labels, "index": index}
            return ({name: each for name, each in found.items() if each is not None} | rest,)
        return (images, labels, *rest)

    def _parts(self, data: Any, *, whole: bool = False) -> tuple[Any, Any, Any, dict[str, Any] | tuple]:
        """Splits a batch into (images or None, labels or None, index or None, the rest as a dict or a tuple)."""
        if isinstance(data, list) and not whole:
            data = tuple(data)
        if isinstance(data, tuple) and len(data) == 1:
            (data,) = data
        if isinstance(data, tuple) and isinstance(data[0], dict) and all(each is None for each in data[1:]):
            data = data[0]
        if isinstance(data, dict):
            if ("label" if self.labelled else "image") not in data:
                raise InputError(
                    f"a batch that is a dict must have the keys {', '.join(KEYS[:2])}, and may have "
                    f"{', '.join(KEYS[2:])}. Received: {', '.join(map(str, data))}"
                )
            rest = {name: data[name] for name in KEYS[3:] if name in data}
            return data.get("image"), data.get("label"), data.get("index"), rest
        if isinstance(data, tuple) and (len(data) in (2, 3) and not isinstance(data[0], dict)):
            return data[0], data[1], None, data[2:]
        if isinstance(data, tuple) or self.labelled:
            received = f"{len(data)} parts" if isinstance(data, tuple) else "images alone"
            raise InputError(f"data must be images and their labels, (images, labels). Received: {received}")
        return data, None, None, ()

    def _checked_index(self, index: Array, count: int) -> np.ndarray:
        index = np.asarray(index).reshape(-1)
        if index.dtype.kind not in "iu" or len(index) != count:
            raise InputError(f"`index` must be integers [{count}]. Received: {index.dtype} [{len(index)}]")
        if self.num_examples is not None and len(index) and not 0 <= index.min() <= index.max() < self.num_examples:
            raise InputError(
                f"`index` must be in [0, {self.num_examples - 1}], for {self.num_examples} training images. "
                f"Received: {index.min()} to {index.max()}"
            )
        return index.astype(np.int32, copy=False)

    def _dataset(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        if int(dataset.cardinality()) == 0:
            raise InputError("there are no images: the dataset is empty")
        images, labels, index, _ = self._parts(dataset.element_spec)
        for part in (images, labels, index):
            if part is not None and not isinstance(part, tf.TensorSpec):
                raise InputError(f"images, labels and index must each be one dense tensor. Received: {part}")
        if images is not None:
            check_shape(images, self.image_shape)
            check_type(images)

        def look(labels: Any, *values: Any) -> np.ndarray | np.int32:
            """Checks the values of a batch; returns its labels."""
            others = list(values)
            if images is not None and images.dtype != tf.uint8:
                check_pixels(others.pop(0))
            count = int(others.pop(0))
            if self.labelled:
                labels = as_labels(labels, self.num_classes, count=None if count < 0 else count)
                if index is not None:
                    self._checked_index(others.pop(0), len(labels))
                return labels
            return np.int32(0)

        @tf.autograph.experimental.do_not_convert
        def check(*elements: Any) -> tuple[Any, ...]:
            images, labels, index, rest = self._parts(elements)
            others = [] if images is None or images.dtype == tf.uint8 else [images]
            others.append(tf.constant(-1) if images is None else tf.shape(images)[0])
            others += [] if index is None or not self.labelled else [index]
            # Any uint8 is a valid pixel: if the type alone is proof, the images need not pass through Python.
            if not self.labelled and images.dtype == tf.uint8:
                return (images,)
            found = tf.numpy_function(look, [labels if self.labelled else 0, *others], tf.int32)
            if not self.labelled:
                with tf.control_dependencies([found]):
                    return (tf.identity(images),)
            found.set_shape([None if labels.shape.rank is None else labels.shape[0]])
            if isinstance(rest, dict):
                parts = {"image": images, "label": found, "index": index}
                return ({name: each for name, each in parts.items() if each is not None} | rest,)
            return (images, found, *rest)

        return dataset.map(check, num_parallel_calls=tf.data.AUTOTUNE)

    def _check_alone(self, y: Any) -> None:
        if y is not None:
            raise InputError("the batches of a dataset or generator contain the labels: leave `y` out")


class _CheckedPyDataset(keras.utils.PyDataset):
    """Wraps a user's PyDataset and checks each batch in the worker that makes it."""

    def __init__(self, source: keras.utils.PyDataset, checks: InputChecks) -> None:
        super().__init__(source.workers, source.use_multiprocessing, source.max_queue_size)
        self._source, self._checks = source, checks

    @property
    def num_batches(self) -> int | None:
        return self._source.num_batches

    def __getitem__(self, number: int) -> tuple[Any, ...]:
        return self._checks.batch(self._source[number])

    def on_epoch_begin(self) -> None:
        self._source.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._source.on_epoch_end()


@contextlib.contextmanager
def input_errors() -> Iterator[None]:
    """In the block, turns the TensorFlow error that wraps an `InputError` raised while reading data back into it."""
    try:
        yield
    except tf.errors.OpError as error:
        found = re.search(r"InputError: (.*)", str(error))
        if not found:
            raise
        raise InputError(found[1]) from None


def as_array(images: Array) -> np.ndarray | tf.Tensor:
    """Returns an array or tensor of images as it is, and a list of images as an array.

    Raises:
        InputError: if the images differ in shape.
    """
    if isinstance(images, np.ndarray | tf.Tensor):
        return images
    try:
        array = np.asarray(images)
    except ValueError as error:  # the shapes differ
        raise InputError("images must all have one shape, [N, H, W, C]. Received: images of several shapes") from error
    return array[0] if array.ndim == 5 and len(array) == 1 else array  # Keras accepts a list of a model's inputs
