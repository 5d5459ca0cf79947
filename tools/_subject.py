"""What is evaluated: a run, a `.keras` file or a SavedModel, and the data and eps that go with it."""

import pathlib
from typing import NamedTuple

from agkd_tf.errors import InputError
from agkd_tf.evaluation import file_digest, logits_of_probabilities, saved_model_digest, saved_model_logits
from agkd_tf.models import Classifier
from agkd_tf.models.storage import classifier_path, load_classifier
from agkd_tf.workdir import Workdir
from tools import _flags

KINDS = ("workdir", "model_file", "saved_model")
DATA = ("dataset", "image_size", "train_examples", "validation_examples")


class Subject(NamedTuple):
    """A classifier from disk.

    Attributes:
        path: where it is, as the user gave it.
        logits: callable, float32 images [B, H, W, C] in [0, 1] -> float32 logits [B, n].
        num_classes: number of logits.
        image_shape: (H, W, C), or None where it is not known.
        digest: SHA-256 of its files.
        classifier: `agkd_tf.models.Classifier`, or None for a SavedModel.
    """

    path: str
    logits: object
    num_classes: int
    image_shape: tuple | None
    digest: str
    classifier: Classifier | None = None


def subject_from_flags(flag_values):
    """Returns the `Subject` that the flags name.

    Raises:
        InputError: for none or several, or one that cannot be read.
    """
    named = {kind: flag_values[kind].value for kind in KINDS if flag_values[kind].value}
    if len(named) != 1:
        raise InputError("one of `workdir`, `model_file` and `saved_model` is needed: --workdir=runs/NAME")
    ((kind, path),) = named.items()
    if kind == "saved_model":
        return _saved_model(path, output=flag_values.output, probabilities=flag_values.probabilities)
    return _keras(kind, path)


def subject_at(argument, path):
    """Returns the `Subject` at a path: a SavedModel, a run's folder or a `.keras` file.

    Raises:
        InputError: if there is none.
    """
    return _saved_model(path) if (pathlib.Path(path) / "saved_model.pb").is_file() else _keras(argument, path)


def _saved_model(path, *, output=None, probabilities=False):
    logits, classes, shape = saved_model_logits(path, output=output)
    if probabilities:
        logits = logits_of_probabilities(logits)
    return Subject(path, logits, classes, shape, saved_model_digest(path))


def _keras(argument, path):
    classifier = Classifier(load_classifier(argument, path))
    digest = file_digest(classifier_path(argument, path))
    return Subject(path, classifier.logits, classifier.num_classes, classifier.image_shape, digest, classifier)


def data_and_eps(flag_values):
    """Returns (data set's settings, the run's own eps or None): the flags' own where given, else the run's.

    Raises:
        InputError: without a run, if flags are missing that it would answer.
    """
    if flag_values.workdir:
        return run_data_and_eps(flag_values.workdir, flag_values)
    missing = [name for name in ("eps", "record") if flag_values[name].value is None]
    if missing or not flag_values["dataset"].present:
        raise InputError("without `workdir`, these flags are needed too: --dataset, --eps, --record")
    return {name: flag_values[name].value for name in DATA}, None


def run_data_and_eps(path, flag_values):
    """Returns (data set's settings, eps) of a run; a data flag that was given comes first.

    Raises:
        InputError: if there is no run.
    """
    recipe = _flags.read_flagfile(Workdir(path).flags)
    data = {name: getattr(recipe, name) for name in DATA}
    data |= {name: flag_values[name].value for name in DATA if flag_values[name].present}
    return data, recipe.hyperparameters["eps"]
