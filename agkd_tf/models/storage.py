"""Saves and loads classifiers and the names of their classes."""

import hashlib
import json
import pathlib
import re
import zipfile
from collections.abc import Iterable

import h5py
import keras
import numpy as np

from agkd_tf.errors import InputError
from agkd_tf.files import check_archive, replacing, write_text
from agkd_tf.types import PathLike
from agkd_tf.workdir import Workdir

FILES = (".keras", ".h5", ".hdf5")  # Keras 2 wrote the last two, which Keras 3 can read and write
# How Keras says that it does not know a class or a function.
UNKNOWN = r"(?:Could not locate (?:class|function)|Unknown [a-z ]+:) '(\w+)'"
MEMBER = "agkd_tf.json"  # in a `.keras` archive, where Keras ignores it, and in a SavedModel's EXTRA folder
EXTRA = "assets.extra"  # TensorFlow's conventional folder for files that users add to a SavedModel


def save_classifier(model: keras.Model, path: PathLike, class_names: Iterable[str] | None = None) -> None:
    """Writes a `keras.Model` as a `.keras` file, atomically, with the names of its classes.

    Args:
        model: `keras.Model`.
        path: the file.
        class_names: one name per class, in the order of the logits; None if they are not known.

    Raises:
        OSError: if the file cannot be written.
    """
    with replacing(path) as temporary:
        model.save(temporary)
        if class_names is not None:
            with zipfile.ZipFile(temporary, "a") as archive:
                archive.writestr(MEMBER, _described(class_names))


def write_class_names(folder: PathLike, class_names: Iterable[str]) -> None:
    """Writes a SavedModel's class names into its folder, next to the files that TensorFlow reads."""
    write_text(pathlib.Path(folder) / EXTRA / MEMBER, _described(class_names))


def read_class_names(argument: str, path: PathLike, num_classes: int | None = None) -> tuple[str, ...] | None:
    """Returns a classifier's class names, a tuple in the order of its logits, or None if it has none.

    Args:
        argument: name of the path in error messages.
        path: a run's folder, a `.keras` file, or a SavedModel.
        num_classes: number of the classifier's logits, if known.

    Raises:
        InputError: if there is no classifier, its names are damaged, or their number is not that of its logits.
    """
    path = pathlib.Path(path)
    if is_saved_model(path):
        file = path / EXTRA / MEMBER
        text = file.read_bytes() if file.is_file() else None
    else:
        path = classifier_path(argument, path)
        if path.suffix != ".keras":
            return None
        try:
            with zipfile.ZipFile(path) as archive:
                text = archive.read(MEMBER) if MEMBER in archive.namelist() else None
        except OSError:
            raise
        except Exception as error:  # a damaged file can raise anything from the standard library's decoders
            raise InputError(f"`{argument}`: {path} cannot be read: {error}") from error
    if text is None:
        return None
    try:
        names = json.loads(text)["class_names"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("they are not strings")
        if num_classes not in (None, len(names)):
            raise ValueError(f"it has {num_classes} classes but {len(names)} names")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"`{argument}`: the class names in {path} cannot be read: {error}") from error
    return tuple(names)


def _described(class_names: Iterable[str]) -> str:
    return json.dumps({"class_names": list(class_names)}) + "\n"


def classifier_path(argument: str, path: PathLike) -> pathlib.Path:
    """Returns the `.keras` or `.h5` file that `path` stands for: the file itself, or the student in a run's folder.

    Raises:
        InputError: if there is none.
    """
    path = pathlib.Path(path)
    if is_saved_model(path):
        raise InputError(
            f"`{argument}` is a SavedModel, which hides its layers: give a .keras or .h5 file. Received: {path}"
        )
    if path.is_dir():
        path = Workdir(path).student
        if not path.exists():
            raise InputError(
                f"`{argument}` has no {path.name} yet: the run has not finished an epoch. Received: {path.parent}"
            )
    if path.suffix not in FILES or not path.is_file():
        raise InputError(
            f"`{argument}` must be a run's folder or an existing .keras or .h5 file. Received: {str(path)!r}"
        )
    return path


def is_saved_model(path: PathLike) -> bool:
    """Returns whether a path is the folder of a SavedModel."""
    return any((pathlib.Path(path) / f"saved_model.{suffix}").is_file() for suffix in ("pb", "pbtxt"))


def is_file_of_keras(path: PathLike | None) -> bool:
    """Returns whether the suffix of a path is that of a Keras file (not of a run's folder or a network's name)."""
    return path is not None and pathlib.Path(path).suffix in FILES


def load_classifier(argument: str, path: PathLike) -> keras.Model:
    """Loads the classifier at `path` (see `classifier_path`) as a `keras.Model`.

    Files are read in Keras' safe mode, which never runs code stored in a file. For a saved defense, its student is
    returned.

    Raises:
        InputError: if there is no such file, it holds weights without their network, or it cannot be read. If reading
            it takes code from the file, code from its author, or Keras 2, the message says what to type.
    """
    path = classifier_path(argument, path)
    try:
        if path.suffix == ".keras":
            check_archive(path)  # its message names the damaged part, unlike Keras'
        elif _has_no_network(path):
            raise InputError(
                f"`{argument}`: {path} holds weights without their network: build it in Python as `model`, then "
                f'model.load_weights("{path}"); model.save("{path.name.partition(".")[0]}.keras")'
            )
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (MemoryError, InputError):
        raise
    except Exception as error:  # an arbitrary file can raise anything
        raise InputError(
            f"`{argument}`: {path} cannot be read: {_cause(path, str(error) or type(error).__name__)}"
        ) from error
    return getattr(model, "student", model)


def _has_no_network(path: pathlib.Path) -> bool:
    with h5py.File(path, "r") as file:
        return "model_config" not in file.attrs


def _cause(path: pathlib.Path, reason: str) -> str:
    """Returns one line: why Keras cannot read a file, and if possible what to type to convert it to a SavedModel."""
    first, old = reason.splitlines()[0].partition(". ")[0], _keras_version(path).startswith("2.")
    unknown, own_code = re.search(UNKNOWN, reason), re.search(r"\bLambda\b", reason)
    name = unknown[1] if unknown and unknown[1] != "Functional" else None
    custom = f"custom_objects={{'{name}': {name}}}"
    # Unsafe loading is only suggested in this message, to users who trust a file; nothing here enables it.
    arguments = f"compile=False, safe_mode={False}" if own_code else "compile=False"
    package = "tf_keras" if old else "keras"
    imports = f"import {package}"
    if old:
        cause = f"it was written by Keras 2 ({first}): pip install tf_keras, and"
        cause += f" (with {custom}, if {name} is not part of Keras)" if name else ""
    elif name:
        cause = f"it needs {name}, which is not part of Keras:"
        imports, arguments = f"{imports}; from YOURS import {name}", f"{arguments}, {custom}"
    elif own_code:
        cause = "it has a Lambda layer, whose code is stored in the file; if you trust it:"
    else:
        return first
    folder = path.with_name(f"{path.stem}_saved_model")
    code = f"{imports}; {package}.models.load_model('{path}', {arguments}).export('{folder}')"
    return f'{cause} python -c "{code}", then evaluate `saved_model={folder.as_posix()!r}`'


def _keras_version(path: pathlib.Path) -> str:
    """Returns the version of Keras that wrote a file, or an empty string if the file does not say."""
    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                return str(json.loads(archive.read("metadata.json")).get("keras_version", ""))
        with h5py.File(path, "r") as file:
            return str(file.attrs.get("keras_version", ""))
    except Exception:  # an arbitrary file can raise anything; the error that led here is more useful
        return ""


def weights_digest(model: keras.Model | None) -> bytes:
    """Returns the SHA-256 (32 bytes) of a `keras.Model`'s weights in order; for None, the hash of no data."""
    found = hashlib.sha256()
    for weights in model.get_weights() if model is not None else ():
        found.update(np.ascontiguousarray(weights).data)
    return found.digest()
