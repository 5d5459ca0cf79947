"""Converts labels to the library's one convention: int32 [N], 0 to num_classes - 1."""

from typing import Any

import numpy as np

from agkd_tf.errors import InputError
from agkd_tf.types import Array


def as_labels(
    labels: Array, num_classes: int | None = None, *, count: int | None = None, prefix: str = ""
) -> np.ndarray:
    """Returns labels as int32 [N], converted from integers of any type, whole floats or one-hot rows.

    Args:
        labels: an array, tensor or list: [N] or [N, 1], or one-hot rows [N, num_classes].
        num_classes: number of classes; None if it is not known, in which case the range is not checked.
        count: number of images; None if it is not known.
        prefix: text that error messages begin with.

    Raises:
        InputError: for anything else: text, soft labels, labels out of range, or a number of labels that is not
            `count`.
    """
    try:
        array = np.asarray(labels)
    except ValueError as error:  # the rows' lengths differ
        raise InputError(f"{prefix}labels must be one array. Received: rows of different lengths") from error
    width = "num_classes" if num_classes is None else num_classes
    allowed = f"{prefix}labels must be integers [N], whole floats, or one-hot rows [N, {width}]"
    if array.dtype == object and all(isinstance(each, int | float | np.number) for each in array.flat):
        array = np.array(array.tolist())
    if array.dtype.kind not in "iufb" and array.dtype.name != "bfloat16":
        first = f", such as {_plain(array.flat[0])!r}" if array.size else ""
        raise InputError(
            f"{allowed}. Received: {_kind(array)}{first} (np.unique(labels, return_inverse=True)[1] numbers them)"
        )
    shape = list(array.shape)
    if array.ndim == 2 and shape[1] == 1:
        array = array[:, 0]
    elif array.ndim == 2 and num_classes in (None, shape[1]):
        if not (np.all((array == 0) | (array == 1)) and np.all(np.count_nonzero(array, axis=1) == 1)):
            raise InputError(f"{allowed}. Received: {array.dtype} {shape}, rows that are not one-hot (soft labels?)")
        array = np.argmax(array, axis=1)
    if array.ndim != 1:
        raise InputError(f"{allowed}. Received: {array.dtype} {shape}")
    if count is not None and len(array) != count:
        raise InputError(f"{prefix}{count} images but {len(array)} labels")
    if array.dtype.kind == "b" and num_classes not in (None, 2):
        raise InputError(f"{allowed}. Received: bool {shape}, for {num_classes} classes")
    if array.dtype.kind not in "iub":
        numbers = array.astype(np.float64)
        if not np.all(np.isfinite(numbers) & (numbers == np.round(numbers))):
            bad = numbers[~(np.isfinite(numbers) & (numbers == np.round(numbers)))][0]
            raise InputError(f"{allowed}. Received: a label of {bad:g}")
        array = numbers
    if num_classes is not None and len(array):
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= num_classes:
            hint = " (labels - 1?)" if low == 1 and high == num_classes else ""
            raise InputError(f"{prefix}labels must be in [0, {num_classes - 1}]. Received: {low} to {high}{hint}")
    limits = np.iinfo(np.int32)
    if len(array) and not limits.min <= int(array.min()) <= int(array.max()) <= limits.max:
        raise InputError(f"{prefix}labels must fit into 32 bits. Received: {int(array.min())} to {int(array.max())}")
    return array.astype(np.int32, copy=False)


def _kind(array: np.ndarray) -> str | np.dtype:
    is_text = array.dtype.kind in "USO" and array.size and isinstance(array.flat[0], str | bytes)
    return "text" if is_text else array.dtype


def _plain(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
