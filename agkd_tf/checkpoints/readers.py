"""Reads the arrays in a checkpoint's file, whatever its format, without running code from it."""

import importlib
import pathlib
import re
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from safetensors import safe_open

from agkd_tf.checkpoints.arrays_only import load_arrays_only
from agkd_tf.errors import InputError
from agkd_tf.files import check_archive
from agkd_tf.types import PathLike

LARGEST = 16 * 2**30  # bytes of arrays; the largest published network has 1.6 GB, and checkpoints hold several copies
WRITER = "agkd_tf"  # in the metadata of files that this library wrote
_FLOATS = (np.float16, np.float32, np.float64, tf.bfloat16.as_numpy_dtype)

#: Names -> arrays, or the same again.
Tree = Mapping[str, Any]


class Checkpoint(NamedTuple):
    """What a file holds.

    Attributes:
        tree: dict of float32 arrays, arrays of integers and such dicts.
        said: what the file says of itself: for one from `tools.export --format=torch`, its `architecture`,
            `activation`, `image_size`, `pixel_mean` and `pixel_std`.
    """

    tree: Tree
    said: Mapping[str, str]


def read_checkpoint(path: PathLike) -> Checkpoint:
    """Returns the arrays in a checkpoint, in nested dicts as the file has them; anything else in it is left out.

    Floats of 16 and 64 bits become float32. Code in a file is never run: PyTorch reads its files with
    `weights_only=True`, NumPy reads .npz files with `allow_pickle=False`, and pickled arrays are read by
    `load_arrays_only`.

    Args:
        path: a file of PyTorch (.pt, .pth, .ckpt, .t7), for which PyTorch must be installed; .safetensors; .npz; or
            .npy with the (parameters, state) of Haiku, as DeepMind publishes them.

    Returns:
        A `Checkpoint`.

    Raises:
        InputError: if there is no such file, it is of another format, damaged or too large, would run code, or holds
            quantized weights.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() not in READERS:
        raise InputError(f"`checkpoint` must be a file of one of {', '.join(READERS)}. Received: {str(path)!r}")
    if not path.is_file():
        raise InputError(f"`checkpoint` must be an existing file. Received: {str(path)!r}")
    if path.stat().st_size > LARGEST:
        raise InputError(f"`checkpoint`: {path} is larger than {LARGEST >> 30} GiB")
    try:
        found, said = READERS[path.suffix.lower()](path), _said(path)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # an arbitrary file can raise anything
        raise InputError(f"`checkpoint`: {path} cannot be read: {_first_line(error)}") from error
    return Checkpoint(_floats(found, path), said)


def _said(path: pathlib.Path) -> Mapping[str, str]:
    if path.suffix.lower() != ".safetensors":
        return {}
    with safe_open(path, framework="np") as file:
        metadata = file.metadata() or {}
    return metadata if metadata.get("writer") == WRITER else {}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _floats(tree: Any, path: pathlib.Path, name: str = "") -> dict[str, Any]:
    """Returns a tree with float32 arrays in the place of others, and without what is neither an array nor a dict."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        whole = f"{name}{key}"
        if isinstance(value, Mapping):
            found[str(key)] = _floats(value, path, f"{whole}.")
        elif isinstance(value, np.ndarray):
            if value.dtype in _FLOATS:
                value = value.astype(np.float32)
            elif value.ndim > 1 and whole.endswith("weight"):
                raise InputError(
                    f"`checkpoint`: {path} holds quantized weights ({whole} is {value.dtype}): give a file with "
                    "dense weights as floats"
                )
            found[str(key)] = value
    return found


def _read_torch(path: pathlib.Path) -> Tree:
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise InputError(
            f"`checkpoint`: to read {path}, PyTorch is needed: pip install torch. Or save the state dict elsewhere as "
            ".safetensors, which needs no PyTorch"
        ) from error
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error)
        asked = re.search(r"GLOBAL ([\w.]+)|Unsupported (?:global|class) (?:GLOBAL )?`?([\w.]+)", reason)
        if asked:
            raise InputError(
                f"`checkpoint`: {path} would run code ({asked[1] or asked[2]}), and is not read. If you trust it, save "
                "its weights alone, where it comes from: torch.save(model.state_dict(), 'weights.pt')"
            ) from error
        raise InputError(f"`checkpoint`: {path} cannot be read: {_first_line(error)}") from error
    if not isinstance(loaded, Mapping):
        raise InputError(f"`checkpoint`: {path} holds a {type(loaded).__name__}, not a state dict")
    return _as_arrays(loaded, torch, path)


def _as_arrays(tree: Mapping, torch: Any, path: pathlib.Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found[str(key)] = _as_arrays(value, torch, path)
        elif isinstance(value, torch.Tensor):
            if value.is_quantized or value.layout != torch.strided:
                kind = "quantized" if value.is_quantized else "sparse"
                raise InputError(
                    f"`checkpoint`: {path} holds {kind} weights ({key}): give a file with dense weights as floats"
                )
            value = value.detach()
            found[str(key)] = (value.float() if value.is_floating_point() else value).numpy()
    return found


def _read_safetensors(path: pathlib.Path) -> Tree:
    with safe_open(path, framework="np") as file:
        return {name: file.get_tensor(name) for name in list(file.keys())}


def _read_npz(path: pathlib.Path) -> Tree:
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > LARGEST:
        raise InputError(f"`checkpoint`: {path} holds more than {LARGEST >> 30} GiB")
    check_archive(path)
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def _read_haiku(path: pathlib.Path) -> Tree:
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        _, _, dtype = read_header[version](file)
        if not dtype.hasobject:
            raise InputError(
                f"`checkpoint`: {path} holds one array: of .npy files, those with Haiku's parameters are read"
            )
        loaded = load_arrays_only(file)
    parts = list(np.asarray(loaded, object).flat)
    if len(parts) != 2 or not all(isinstance(part, Mapping) for part in parts):
        raise InputError(f"`checkpoint`: {path} must hold two dicts, Haiku's parameters and state")
    return {"params": parts[0], "state": parts[1]}


READERS: Mapping[str, Callable[[pathlib.Path], Tree]] = {
    ".pt": _read_torch,
    ".pth": _read_torch,
    ".ckpt": _read_torch,
    ".t7": _read_torch,
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
    ".npy": _read_haiku,
}
