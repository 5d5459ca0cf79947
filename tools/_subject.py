"""What is evaluated: a run, a `.keras` file or a SavedModel, and the data and eps that go with it."""

import pathlib
from typing import NamedTuple

import tensorflow as tf

from agkd_tf.data.class_names import places, same_names
from agkd_tf.errors import InputError
from agkd_tf.evaluation import (
    file_digest,
    logits_of_pixels,
    logits_of_probabilities,
    saved_model_digest,
    saved_model_logits,
)
from agkd_tf.models import Classifier, adapt
from agkd_tf.models.storage import (
    classifier_path,
    is_file_of_keras,
    is_saved_model,
    load_classifier,
    read_class_names,
)
from agkd_tf.training.recipe_file import read_recipe
from agkd_tf.workdir import Workdir
from tools import _app, _flags

KINDS = ("workdir", "model_file", "saved_model")
SAVED_MODEL = ("signature", "output", "probabilities")  # flags of a SavedModel
PARTS = ("features", "embedding", "logits")
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
        class_names: a name a class, or None where they are not known.
    """

    path: str
    logits: object
    num_classes: int
    image_shape: tuple | None
    digest: str
    classifier: Classifier | None = None
    class_names: tuple | None = None

    def numbered_by(self, argument, class_names):
        """Returns the `Subject` whose logits are those of `class_names`, in that order, found by name.

        Where either's names are not known, it is the same one.

        Raises:
            InputError: if the two do not have the same names.
        """
        if self.class_names is None or class_names is None or same_names(self.class_names, class_names):
            return self
        order = places(class_names, self.class_names, whose=f"`{argument}`: what {self.path} is compared with")
        if len(order) != len(self.class_names):
            raise InputError(f"`{argument}`: {self.path} has {len(self.class_names)} classes, not {len(order)}")
        _app.note(f"{self.path} numbers its classes otherwise: its logits are put in order by name")
        return self._replace(
            logits=lambda images: tf.gather(self.logits(images), order, axis=1), class_names=class_names
        )


def subject_from_flags(flag_values):
    """Returns the `Subject` that the flags name.

    Raises:
        InputError: for none or several, or one that cannot be read; for flags of a network from a file without one.
    """
    named = {kind: flag_values[kind].value for kind in KINDS if flag_values[kind].value}
    if len(named) != 1:
        raise InputError("one of `workdir`, `model_file` and `saved_model` is needed: --workdir=runs/NAME")
    ((kind, path),) = named.items()
    if is_saved_model(path) or (kind == "saved_model" and not _is_keras_file(path)):
        settings = {name: flag_values[name].value for name in SAVED_MODEL}
        return _saved_model(path, _flags.pixels_of_network(), _flags.layers_of_network(), **settings)
    for name in SAVED_MODEL:
        if flag_values[name].value:
            raise InputError(f"`{name}` is for a `saved_model`. Received: --{kind}={path}")
    return keras_subject(kind, path, flag_values)


def subject_at(argument, path, conventions=None):
    """Returns the `Subject` at a path: a SavedModel, a run's folder or a `.keras` file.

    Args:
        argument: how messages call the path.
        path: the path.
        conventions: arguments of `adapt` for a network from a file; None for images in [0, 1].

    Raises:
        InputError: if there is none, or a run's is given conventions.
    """
    conventions = dict(conventions or {})
    found = _saved_model(path, conventions, {}) if is_saved_model(path) else _keras(argument, path, conventions, {})
    # Of other pixels it is another network, to a record.
    return found._replace(digest=" ".join([found.digest, *(f"{name}={value}" for name, value in conventions.items())]))


def _is_keras_file(path):
    return is_file_of_keras(path) and pathlib.Path(path).is_file()


def _saved_model(path, conventions, layers, *, signature=None, output=None, probabilities=False):
    if layers:
        name, layer = next(iter(layers.items()))
        raise InputError(
            f"`{name}_layer` is for a file of Keras: of a SavedModel choose an output, --output=NAME. Received: {layer}"
        )
    logits, classes, shape = saved_model_logits(path, signature=signature, output=output)
    conventions = dict(conventions)
    if conventions.pop("channels", None) == "first" and shape is not None and shape[2] not in (1, 3, 4):
        raise InputError(f"`channels` of first: {path} takes images {shape}, which are channels last")
    if conventions:
        channels = 3 if shape is None else shape[2]
        logits = logits_of_pixels(logits, channels=channels, **conventions)
    if probabilities:
        logits = logits_of_probabilities(logits)
    names = read_class_names("saved_model", path, classes)
    return Subject(path, logits, classes, shape, saved_model_digest(path), class_names=names)


def keras_subject(argument, path, flag_values):
    """Returns the `Subject` of a run or a file of Keras, which the flags of `define_network` describe.

    Raises:
        InputError: if it cannot be read, or flags do not apply to it.
    """
    return _keras(argument, path, _flags.pixels_of_network(), _flags.layers_of_network())


def _keras(argument, path, conventions, layers):
    model, digest = load_classifier(argument, path), file_digest(classifier_path(argument, path))
    try:
        if is_file_of_keras(path):
            _check_one_to_one(argument, path, model, layers.get("logits"))
            if conventions:
                model = adapt(model, logits=layers.get("logits"), **conventions)
        else:
            if conventions or layers:
                raise InputError("a run knows its pixels and layers: leave out --pixel_..., --channels and --..._layer")
            layers = _layers_of_run(path)
        classifier = Classifier(model, **layers)
    except InputError as error:
        raise InputError(f"`{argument}` {path}: {error}") from error
    classes, shape = classifier.num_classes, classifier.image_shape
    names = read_class_names(argument, path, classes)
    return Subject(path, classifier.logits, classes, None if None in shape else shape, digest, classifier, names)


def _layers_of_run(path):
    flags_file = Workdir(path).flags
    recipe = read_recipe(flags_file) if flags_file.is_file() else None
    names = {} if recipe is None else {part: getattr(recipe, f"{part}_layer") for part in PARTS}
    return {part: name for part, name in names.items() if name}


def _check_one_to_one(argument, path, model, logits=None):
    """Checks that a network has one input and one output, as far as it shows them."""
    tensors = {name: getattr(model, name, None) or () for name in ("inputs", "outputs")}
    counts = [len(each) for each in tensors.values()]
    if max(counts) > 1 and not (counts[0] == 1 and logits):
        names = [", ".join(str(each.name) for each in tensors["inputs"]), ", ".join(map(str, model.output_names))]
        remedy = "; choose one by its layer: --logits_layer=LAYER"
        raise InputError(
            f"`{argument}` must have one input, the images, and one output, the logits. Received: {path} "
            f"from {names[0]} to {names[1]}{remedy if counts[0] == 1 else ''}"
        )


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
    recipe = read_recipe(Workdir(path).flags)
    data = {name: getattr(recipe, name) for name in DATA}
    data |= {name: flag_values[name].value for name in DATA if flag_values[name].present}
    return data, recipe.hyperparameters["eps"]
