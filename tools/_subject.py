"""What is evaluated: a run, a `.keras` file or a SavedModel, and the data and eps that go with it."""

import pathlib
from typing import NamedTuple

import tensorflow as tf

from agkd_tf.errors import InputError
from agkd_tf.evaluation import file_digest, logits_of_probabilities, saved_model_digest, saved_model_logits
from agkd_tf.models import Classifier
from agkd_tf.models.storage import FILES, classifier_path, is_saved_model, load_classifier
from agkd_tf.workdir import Workdir
from tools import _flags

KINDS = ("workdir", "model_file", "saved_model")
SAVED_MODEL = ("signature", "output", "probabilities")  # flags of a SavedModel
DATA = ("dataset", "image_size", "train_examples", "validation_examples")


class Subject(NamedTuple):
    """A classifier from disk.

    Attributes:
        path: where it is, as the user gave it.
        logits: callable, float32 images [B, H, W, C] in [0, 1] -> float32 logits [B, n].
        num_classes: number of logits.
        image_shape: (H, W, C), or None where it is not known.
        digest: SHA-256 of its files.
        classifier: `agkd_tf.models.Classifier`, or None for a SavedModel and a network that it cannot read.
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
        InputError: for none or several, or one that cannot be read; for flags of a SavedModel without one.
    """
    named = {kind: flag_values[kind].value for kind in KINDS if flag_values[kind].value}
    if len(named) != 1:
        raise InputError("one of `workdir`, `model_file` and `saved_model` is needed: --workdir=runs/NAME")
    ((kind, path),) = named.items()
    if is_saved_model(path) or (kind == "saved_model" and not _is_keras_file(path)):
        return _saved_model(path, **{name: flag_values[name].value for name in SAVED_MODEL})
    for name in SAVED_MODEL:
        if flag_values[name].value:
            raise InputError(f"`{name}` is for a `saved_model`. Received: --{kind}={path}")
    return _keras(kind, path)


def subject_at(argument, path):
    """Returns the `Subject` at a path: a SavedModel, a run's folder or a `.keras` file.

    Raises:
        InputError: if there is none.
    """
    return _saved_model(path) if is_saved_model(path) else _keras(argument, path)


def _is_keras_file(path):
    return pathlib.Path(path).suffix in FILES and pathlib.Path(path).is_file()


def _saved_model(path, *, signature=None, output=None, probabilities=False):
    logits, classes, shape = saved_model_logits(path, signature=signature, output=output)
    if probabilities:
        logits = logits_of_probabilities(logits)
    return Subject(path, logits, classes, shape, saved_model_digest(path))


def _keras(argument, path):
    model, digest = load_classifier(argument, path), file_digest(classifier_path(argument, path))
    _check_one_to_one(argument, path, model)
    try:
        classifier = Classifier(model)
    except InputError:
        # Attacks need no more than the logits, whatever lies before them: dense layers alone, or several networks.
        if not _maps_images_to_scores(model):
            raise
        shape, classes = model.inputs[0].shape[1:], model.outputs[0].shape[1]
        return Subject(path, _logits_of(model), classes, None if None in shape else tuple(shape), digest)
    return Subject(path, classifier.logits, classifier.num_classes, classifier.image_shape, digest, classifier)


def _check_one_to_one(argument, path, model):
    """Checks that a network has one input and one output, as far as it shows them."""
    tensors = {name: getattr(model, name, None) or () for name in ("inputs", "outputs")}
    counts = [len(each) for each in tensors.values()]
    if max(counts) > 1:
        names = [", ".join(str(each.name) for each in tensors["inputs"]), ", ".join(map(str, model.output_names))]
        cut = "keras.Model(m.inputs, m.outputs[0]).save('one.keras')"
        remedy = (
            f"; of the outputs choose one: python -c \"import keras; m = keras.models.load_model('{path}'); {cut}\""
        )
        raise InputError(
            f"`{argument}` must have one input, the images, and one output, the logits. Received: {path} "
            f"from {names[0]} to {names[1]}{remedy if counts[0] == 1 else ''}"
        )


def _maps_images_to_scores(model):
    tensors = [getattr(model, name, None) or () for name in ("inputs", "outputs")]
    shapes = [[tuple(tensor.shape) for tensor in each] for each in tensors]
    if [len(each) for each in shapes] != [1, 1]:
        return False
    (images,), (scores,) = shapes
    return len(images) == 4 and len(scores) == 2 and scores[1] is not None


def _logits_of(model):
    def logits(images):
        return tf.cast(model(images, training=False), tf.float32)

    return logits


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
