"""Classifiers from disk."""

import hashlib
import pathlib

import keras
import numpy as np

from agkd_tf.errors import InputError
from agkd_tf.files import check_archive
from agkd_tf.workdir import Workdir


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
