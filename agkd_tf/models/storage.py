"""Classifiers on disk, and the names of their classes."""

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

FILES = (".keras", ".h5", ".hdf5")  # of Keras; Keras 2 wrote the last two, which Keras 3 can read and write
# How Keras says that it does not know a class or a function.
UNKNOWN = r"(?:Could not locate (?:class|function)|Unknown [a-z ]+:) '(\w+)'"
MEMBER = "agkd_tf.json"  # of a `.keras` archive, which Keras passes over, and of a SavedModel's EXTRA
EXTRA = "assets.extra"  # by TensorFlow's convention, what users add to a SavedModel


def save_classifier(model: keras.Model, path: PathLike, class_names: Iterable[str] | None = None) -> None:
    """Writes a `keras.Model` as a `.keras` file, as a whole, with the names of its classes.

    Args:
        model: `keras.Model`.
        path: the file.
        class_names: a name a class, in the order of the logits; None if they are not known.

    Raises:
        OSError: if the file cannot be written.
    """
    with replacing(path) as temporary:
        model.save(temporary)
        if class_names is not None:
            with zipfile.ZipFile(temporary, "a") as archive:
                archive.writestr(MEMBER, _described(class_names))


def write_class_names(folder: PathLike, class_names: Iterable[str]) -> None:
    """Writes the names of a SavedModel's classes into its folder, beside what TensorFlow reads."""
    write_text(pathlib.Path(folder) / EXTRA / MEMBER, _described(class_names))


def read_class_names(argument: str, path: PathLike, num_classes: int | None = None) -> tuple[str, ...] | None:
    """Returns the class names of a classifier, a tuple in the order of its logits, or None where it has none.

    Args:
        argument: how messages call the path.
        path: a run's folder, a `.keras` file, or a SavedModel.
        num_classes: number of the classifier's logits, if it is known.

    Raises:
        InputError: if there is no classifier, its names are damaged, or they are not as many as its logits.
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
        except Exception as error:  # damage ends in whatever a decoder of the standard library stumbles over
            raise InputError(f"`{argument}`: {path} cannot be read: {error}") from error
    if text is None:
        return None
    try:
        names = json.loads(text)["class_names"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("they are no texts")
        if num_classes not in (None, len(names)):
            raise ValueError(f"it has {num_classes} classes and names of {len(names)}")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"`{argument}`: the class names in {path} cannot be read: {error}") from error
    return tuple(names)


def _described(class_names: Iterable[str]) -> str:
    return json.dumps({"class_names": list(class_names)}) + "\n"


def classifier_path(argument: str, path: PathLike) -> pathlib.Path:
    """Returns the `.keras` or `.h5` file behind `path`: the file itself, or the student of a run's folder.

    Raises:
        InputError: if there is none.
    """
    path = pathlib.Path(path)
    if is_saved_model(path):
        raise InputError(
            f"`{argument}` is a SavedModel, which hides its layers; a .keras or .h5 file is needed. Received: {path}"
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
    """Returns whether a path, or None, is by its name a file of Keras, rather than a run or a network's name."""
    return path is not None and pathlib.Path(path).suffix in FILES


def load_classifier(argument: str, path: PathLike) -> keras.Model:
    """Returns the classifier at `path` (see `classifier_path`) as a `keras.Model` to logits.

    Files are read in Keras' safe mode, which runs no code that a file brings along. Of a saved
    defense, its student is returned.

    Raises:
        InputError: if there is no such file, it holds weights without their network, or it cannot be read; says what
            to type where that needs code of the file's own, of its maker's, or of Keras 2.
    """
    path = classifier_path(argument, path)
    try:
        if path.suffix == ".keras":
            check_archive(path)  # names the damaged part, whatever Keras would make of it
        elif _has_no_network(path):
            raise InputError(
                f"`{argument}`: {path} holds weights without their network: build it in Python as `model`, then "
                f'model.load_weights("{path}"); model.save("{path.name.partition(".")[0]}.keras")'
            )
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (MemoryError, InputError):
        raise
    except Exception as error:  # of a file that may hold anything
        raise InputError(
            f"`{argument}`: {path} cannot be read: {_cause(path, str(error) or type(error).__name__)}"
        ) from error
    return getattr(model, "student", model)


def _has_no_network(path: pathlib.Path) -> bool:
    with h5py.File(path, "r") as file:
        return "model_config" not in file.attrs


def _cause(path: pathlib.Path, reason: str) -> str:
    """Returns in one line why Keras does not read a file, and what to type to have it as a SavedModel, if anything."""
    first, old = reason.splitlines()[0].partition(". ")[0], _keras_version(path).startswith("2.")
    unknown, own_code = re.search(UNKNOWN, reason), re.search(r"\bLambda\b", reason)
    name = unknown[1] if unknown and unknown[1] != "Functional" else None
    custom = f"custom_objects={{'{name}': {name}}}"
    # The word for whoever trusts a file stands in this message alone; nothing here passes it to Keras.
    arguments = f"compile=False, safe_mode={False}" if own_code else "compile=False"
    package = "tf_keras" if old else "keras"
    imports = f"import {package}"
    if old:
        cause = f"it is of Keras 2 ({first}): pip install tf_keras, and"
        cause += f" (with {custom}, where {name} is not Keras' own)" if name else ""
    elif name:
        cause = f"it needs {name}, which is not Keras' own:"
        imports, arguments = f"{imports}; from YOURS import {name}", f"{arguments}, {custom}"
    elif own_code:
        cause = "it has a Lambda layer, whose code lies in it; if you trust it:"
    else:
        return first
    folder = path.with_name(f"{path.stem}_saved_model")
    code = f"{imports}; {package}.models.load_model('{path}', {arguments}).export('{folder}')"
    return f'{cause} python -c "{code}", then evaluate `saved_model={folder.as_posix()!r}`'


def _keras_version(path: pathlib.Path) -> str:
    """Returns the version of Keras that wrote a file, as far as it says so; else an empty text."""
    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                return str(json.loads(archive.read("metadata.json")).get("keras_version", ""))
        with h5py.File(path, "r") as file:
            return str(file.attrs.get("keras_version", ""))
    except Exception:  # of a file that may hold anything: what it was read for says more
        return ""


def weights_digest(model: keras.Model | None) -> bytes:
    """Returns the SHA-256, 32 bytes, of a `keras.Model`'s weights in their order; of None, that of no weights."""
    found = hashlib.sha256()
    for weights in model.get_weights() if model is not None else ():
        found.update(np.ascontiguousarray(weights).data)
    return found.digest()
