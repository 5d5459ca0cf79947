"""Reads pickled NumPy arrays, in plain containers, without running anything that a file asks for."""

import collections
import pickle
import re
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

_KINDS = r"[fiub]\d+|O\d*"  # floats, integers, booleans; objects, which are arrays and containers again


class _ArrayType:
    """Stands for `numpy.ndarray`, which a pickle must name, but must not call."""


_ARRAY = _ArrayType()


def _empty(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """Returns the empty array that a pickle then fills with bytes of its own."""
    if kind is not _ARRAY or shape != (0,) or code not in (b"b", "b"):
        raise pickle.UnpicklingError("an array of an unusual kind")
    return np.empty((0,), "b")


def _dtype(code: Any, *flags: Any) -> np.dtype:
    if not isinstance(code, str) or not re.fullmatch(_KINDS, code):
        raise pickle.UnpicklingError(f"arrays of type {code!r}")
    return np.dtype(code)


def _from_buffer(buffer: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise pickle.UnpicklingError(f"arrays of type {dtype!r}")
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


def _bytes(text: Any, encoding: Any) -> bytes:
    """Returns the bytes of an array in pickles of protocol 2, which has only text."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("text of an unusual encoding")
    return text.encode("latin1")


def _scalar(dtype: Any, content: Any) -> Any:
    return _from_buffer(content, dtype, (1,), "C")[0]


def _mapping(*contents: Any) -> dict:
    return dict(*contents)


# (module, name), as patterns -> what stands for it.
_ALLOWED: tuple[tuple[str, str, Callable | _ArrayType], ...] = (
    (r"numpy\.(_?core)\.multiarray", "_reconstruct", _empty),
    (r"numpy\.(_?core)\.multiarray", "scalar", _scalar),
    (r"numpy\.(_?core)\.numeric", "_frombuffer", _from_buffer),
    ("numpy", "ndarray", _ARRAY),
    ("numpy", "dtype", _dtype),
    ("_codecs", "encode", _bytes),
    ("collections", "OrderedDict", collections.OrderedDict),
    (r"haiku\._src\.data_structures", r"Flat(Mapping|Map|Dict)|frozendict", _mapping),
)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        for modules, names, stand_in in _ALLOWED:
            if re.fullmatch(modules, module) and re.fullmatch(names, name):
                return stand_in
        raise pickle.UnpicklingError(f"it would run {module}.{name}, and only arrays and dicts are read")


def load_arrays_only(file: BinaryIO) -> Any:
    """Returns what a pickle holds: arrays, numbers, text, lists, tuples and dicts.

    Nothing else is built, and nothing that the file names is called: arrays and dicts are made by functions of this
    module, which check what they are given.

    Args:
        file: a binary file, at the pickle's first byte.

    Raises:
        pickle.UnpicklingError: if the pickle asks for anything else.
        Exception: of any kind, for damaged data.
    """
    return _Unpickler(file).load()
