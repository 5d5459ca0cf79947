"""Classifiers on disk, and the names of their classes."""

import hashlib
import json
import pathlib
import zipfile

import keras
import numpy as np

from agkd_tf.errors import InputError
from agkd_tf.files import check_archive, replacing, write_text
from agkd_tf.workdir import Workdir

MEMBER = "agkd_tf.json"  # of a `.keras` archive, which Keras passes over, and of a SavedModel's EXTRA
EXTRA = "assets.extra"  # by TensorFlow's convention, what users add to a SavedModel


def save_classifier(model, path, class_names=None):
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


def write_class_names(folder, class_names):
    """Writes the names of a SavedModel's classes into its folder, beside what TensorFlow reads."""
    write_text(pathlib.Path(folder) / EXTRA / MEMBER, _described(class_names))


def read_class_names(argument, path, num_classes=None):
    """Returns the class names of a classifier, a tuple in the order of its logits, or None where it has none.

    Args:
        argument: how messages call the path.
        path: a run's folder, a `.keras` file, or a SavedModel.
        num_classes: number of the classifier's logits, if it is known.

    Raises:
        InputError: if there is no classifier, its names are damaged, or they are not as many as its logits.
    """
    path = pathlib.Path(path)
    if (path / "saved_model.pb").is_file():
        file = path / EXTRA / MEMBER
        text = file.read_bytes() if file.is_file() else None
    else:
        path = classifier_path(argument, path)
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


def _described(class_names):
    return json.dumps({"class_names": list(class_names)}) + "\n"


def classifier_path(argument, path):
    """Returns the `.keras` file behind `path`: the file itself, or the student of a run's folder.

    Raises:
        InputError: if there is none.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        path = Workdir(path).student
        if not path.exists():
            raise InputError(
                f"`{argument}` has no {path.name} yet: the run has not finished an epoch. Received: {path.parent}"
            )
    if path.suffix != ".keras" or not path.is_file():
        raise InputError(f"`{argument}` must be a run's folder or an existing .keras file. Received: {str(path)!r}")
    return path


def load_classifier(argument, path):
    """Returns the classifier at `path` (see `classifier_path`) as a `keras.Model` to logits.

    Files are read in Keras' safe mode, which runs no code that a file brings along. Of a saved
    defense, its student is returned.

    Raises:
        InputError: if there is no such file, or it cannot be read.
    """
    path = classifier_path(argument, path)
    try:
        check_archive(path)  # names the damaged part, whatever Keras would make of it
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except MemoryError:
        raise
    except Exception as error:  # of a file that may hold anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"`{argument}`: {path} cannot be read: {reason}") from error
    return getattr(model, "student", model)


def weights_digest(model):
    """Returns the SHA-256, 32 bytes, of a `keras.Model`'s weights in their order; of None, that of no weights."""
    found = hashlib.sha256()
    for weights in model.get_weights() if model is not None else ():
        found.update(np.ascontiguousarray(weights))
    return found.digest()
