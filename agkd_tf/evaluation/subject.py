"""The model to evaluate: a network in memory, a run, a Keras file, a SavedModel, or a callable."""

import dataclasses
import os
import pathlib
import re
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from agkd_tf.attacks import Ball
from agkd_tf.data import Examples
from agkd_tf.data.class_names import places, same_names
from agkd_tf.errors import InputError, Note
from agkd_tf.evaluation.adapters import logits_of_pixels, logits_of_probabilities, saved_model_logits
from agkd_tf.evaluation.digests import file_digest, network_digest, saved_model_digest
from agkd_tf.evaluation.identity import FILE, NAME, NETWORK
from agkd_tf.models import Classifier, adapt
from agkd_tf.models.storage import (
    classifier_path,
    is_file_of_keras,
    is_saved_model,
    load_classifier,
    read_class_names,
)
from agkd_tf.types import Logits, PathLike
from agkd_tf.workdir import Workdir

if TYPE_CHECKING:
    from agkd_tf.training import Recipe

PIXELS = ("pixel_range", "mean", "std", "channels")  # arguments of `adapt`
PARTS = ("features", "embedding", "logits")  # of `Classifier`
SAVED_MODEL = ("signature", "output", "probabilities")  # of `saved_model_logits` and `logits_of_probabilities`
LAYER_NAMES = re.compile(r"`layer_names=\{'(\w+)': ([^`]*)\}`")  # the remedy in messages of `Classifier`
IN_FILE = r"`\1_layer=\2`"
IN_MEMORY = r"`agkd_tf.models.Classifier(model, \1=\2)`"
SETTINGS = (*PIXELS, *(f"{part}_layer" for part in PARTS), *SAVED_MODEL)


@dataclasses.dataclass(frozen=True)
class Subject:
    """A classifier to evaluate, and what identifies it.

    Attributes:
        path: its path as the user gave it; its name, if it is in memory.
        logits: callable, float32 images [B, H, W, C] in [0, 1] -> float32 logits [B, n].
        num_classes: number of logits; None if it is not known before they are computed.
        image_shape: (H, W, C), or None if it is not known.
        described: for a record, what identifies it (see `same_subject`); empty for a callable without a name.
        settings: for a record, how it was read: the `SETTINGS` that were given.
        classifier: its `Classifier`, or None for a SavedModel and a callable.
        class_names: a name for each class, or None if they are not known.
        workdir: the run that it belongs to, or None.
    """

    path: str
    logits: Logits
    num_classes: int | None
    image_shape: tuple[int, int, int] | None
    described: Mapping[str, str]
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    classifier: Classifier | None = None
    class_names: tuple[str, ...] | None = None
    workdir: Workdir | None = None

    @property
    def digest(self) -> str:
        """Identifies it as the source of a transfer attack: the SHA-256 of its files, or of its network."""
        own = next((self.described[name] for name in (FILE, NETWORK, NAME) if name in self.described), "")
        # To a record, the same network with other pixels is another network.
        return " ".join([own, *(f"{name}={self.settings[name]}" for name in PIXELS if name in self.settings)])

    @property
    def own_ball(self) -> Ball | None:
        """The ball that a run was trained in; None for anything else."""
        return None if self.workdir is None else own_ball_of(self.workdir)

    def check_numbering(self, examples: Examples, num_classes: int) -> None:
        """Checks that the labels of a data set number the classes as this model does.

        Args:
            examples: the images.
            num_classes: number of logits.

        Warns:
            Note: if the model's class names are not known, and it has another number of classes than the data.

        Raises:
            InputError: if the model's class names differ from those of the data, or their order does.
        """
        origin = examples.origin
        if origin is None:
            return
        if self.class_names is None and len(origin.class_names) != num_classes:
            warnings.warn(
                f"{self.path} has {num_classes} classes without names, the data {len(origin.class_names)}: these are "
                f"assumed to be the model's first classes, in this order: {', '.join(origin.class_names)}",
                Note,
                stacklevel=3,
            )
        if self.class_names is not None and not same_names(self.class_names, origin.class_names):
            raise InputError(
                f"{self.path} has other class names than {origin.dataset}, or the same in another order: give "
                f"`load_dataset(..., class_names={list(self.class_names)!r})`"
            )

    def remedied(self, error: InputError) -> str:
        """Returns the message of a `Classifier` error, with a remedy for this model instead of one for a defense."""
        return _remedied(error, IN_FILE if FILE in self.described else IN_MEMORY)

    def numbered_by(self, argument: str, class_names: tuple[str, ...] | None) -> "Subject":
        """Returns a `Subject` whose logits are reordered by name to match `class_names`.

        If the class names of either are not known, the `Subject` itself is returned.

        Args:
            argument: name of the argument in messages.
            class_names: the names in the wanted order, or None.

        Warns:
            Note: if the order differs.

        Raises:
            InputError: if the two do not have the same names.
        """
        if self.class_names is None or class_names is None or same_names(self.class_names, class_names):
            return self
        order = places(class_names, self.class_names, whose=f"`{argument}`: what {self.path} is compared with")
        if len(order) != len(self.class_names):
            raise InputError(f"`{argument}`: {self.path} has {len(self.class_names)} classes, not {len(order)}")
        warnings.warn(
            f"{self.path} numbers its classes differently: its logits are reordered by name", Note, stacklevel=2
        )
        return dataclasses.replace(
            self, logits=lambda images: tf.gather(self.logits(images), order, axis=1), class_names=class_names
        )


def own_ball_of(workdir: Workdir) -> Ball | None:
    """Returns the ball that a run was trained in; None if the folder is not a run."""
    if not workdir.flags.is_file():
        return None
    settings = _recipe(workdir).hyperparameters
    return Ball(settings["norm"], settings["eps"])


def subject_of(model: Any, *, model_name: str | None = None, **settings: Any) -> Subject:
    """Returns the `Subject` for a model in any supported form.

    Args:
        model: a `keras.Model`, a defense or a `Classifier`; the path of a run's folder, a `.keras` or `.h5` file or a
            SavedModel's folder; a callable, float32 images [B, H, W, C] in [0, 1] -> float32 logits [B, n]; or a
            `Subject`, which is returned as it is.
        model_name: name that identifies a callable in a record; nothing else does.
        **settings: for a path, how to read it: some of `SETTINGS`; see `subject_at`.

    Raises:
        InputError: for anything else, for a model whose logits are not found, or for settings without a path.
    """
    is_path = isinstance(model, str | os.PathLike)
    if settings and not is_path:
        name, value = next(iter(settings.items()))
        part = name.removesuffix("_layer")
        remedy = f": `agkd_tf.adapt(model, {name}={value!r})`" if name in PIXELS else ""
        remedy = f": `agkd_tf.models.Classifier(model, {part}={value!r})`" if part in PARTS else remedy
        raise InputError(f"`{name}` is for a model from a file; adapt one in memory before{remedy}")
    named = isinstance(model, Subject | keras.Model | Classifier) or is_path
    if named and model_name is not None and not _lacks_digest(model):
        raise InputError("`model_name` is for a callable; any other model is identified by its weights: leave it out")
    if isinstance(model, Subject):
        return model
    if is_path:
        return subject_at("model", model, **settings)
    if isinstance(model, keras.Model | Classifier):
        own = model if isinstance(model, Classifier) else getattr(model, "classifier", None)
        try:
            classifier = own if isinstance(own, Classifier) else Classifier(model)
        except InputError as error:
            raise InputError(_remedied(error, IN_MEMORY)) from error
        digest = network_digest(classifier.model, classifier.layer_names)
        described = _named(model_name) if digest is None else {NETWORK: digest}
        return Subject(
            classifier.model.name,
            classifier.logits,
            classifier.num_classes,
            _known(classifier.image_shape),
            described,
            classifier=classifier,
        )
    if not callable(model):
        raise InputError(
            f"`model` must be a keras.Model, a path, or a callable from images to logits. Received: {model!r}"
        )
    title = model_name or getattr(model, "__name__", type(model).__name__)
    return Subject(str(title), model, None, None, _named(model_name))


def _remedied(error: InputError, named: str) -> str:
    message = LAYER_NAMES.sub(named, str(error))
    return re.sub(", or use a defense without (attention|a metric loss)", "", message)


def _lacks_digest(model: Any) -> bool:
    return isinstance(model, keras.Model) and network_digest(model) is None


def _named(name: str | None) -> dict[str, str]:
    return {} if name is None else {NAME: name}


def _known(shape: tuple) -> tuple[int, int, int] | None:
    return None if None in shape else shape


def subject_at(argument: str, path: PathLike, **settings: Any) -> Subject:
    """Returns the `Subject` at a path: a SavedModel, a run's folder or a Keras file.

    Args:
        argument: name of the path in messages.
        path: the path.
        **settings: some of `SETTINGS`. For a network from a file: `pixel_range`, `mean`, `std` and `channels` as for
            `adapt`; `features_layer`, `embedding_layer` and `logits_layer` as for `Classifier`. For a SavedModel:
            `signature` and `output` as for `saved_model_logits`, and whether the outputs are `probabilities`.

    Raises:
        InputError: if there is no model, it cannot be read, or a setting is for another kind of model.
    """
    given = {name: value for name, value in settings.items() if value not in (None, False)}
    unknown = set(settings) - set(SETTINGS)
    if unknown:
        raise InputError(f"a model from a file has the settings {', '.join(SETTINGS)}. Received: {min(unknown)}")
    path = str(path)
    is_keras_file = is_file_of_keras(path) and pathlib.Path(path).is_file()
    if is_saved_model(path) or (argument == "saved_model" and not is_keras_file):
        return _saved_model(argument, path, given)
    for name in SAVED_MODEL:
        if name in given:
            raise InputError(f"`{name}` is for a `saved_model`. Received: `{argument}={path!r}`")
    return _of_keras(argument, path, given)


def _parts(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns (`adapt`'s arguments, `Classifier`'s)."""
    pixels = {name: given[name] for name in PIXELS if name in given}
    return pixels, {part: given[f"{part}_layer"] for part in PARTS if f"{part}_layer" in given}


def _saved_model(argument: str, path: str, given: Mapping[str, Any]) -> Subject:
    conventions, layers = _parts(given)
    for part, layer in layers.items():
        raise InputError(
            f"`{part}_layer` is for a Keras file: for a SavedModel choose an output, `output=NAME`. Received: {layer}"
        )
    logits, classes, shape = saved_model_logits(path, signature=given.get("signature"), output=given.get("output"))
    if conventions.pop("channels", None) == "first" and shape is not None and shape[2] not in (1, 3, 4):
        raise InputError(f"`channels` is first, but {path} takes images {shape}, which are channels last")
    if conventions:
        channels = 3 if shape is None else shape[2]
        logits = logits_of_pixels(logits, channels=channels, **conventions)
    if given.get("probabilities"):
        logits = logits_of_probabilities(logits)
    names = read_class_names(argument, path, classes)
    settings = {name: given[name] for name in (*SAVED_MODEL, *PIXELS) if name in given}
    return Subject(path, logits, classes, shape, {FILE: saved_model_digest(path)}, settings, class_names=names)


def _of_keras(argument: str, path: str, given: Mapping[str, Any]) -> Subject:
    conventions, layers = _parts(given)
    model, described = load_classifier(argument, path), {FILE: file_digest(classifier_path(argument, path))}
    workdir = None
    try:
        if is_file_of_keras(path):
            _check_one_to_one(argument, path, model, layers.get("logits"))
            if conventions:
                model = adapt(model, logits=layers.get("logits"), **conventions)
        else:
            if given:
                raise InputError(
                    "a run states its own pixels and layers: leave out `pixel_...`, `channels` and `..._layer`"
                )
            workdir = Workdir(path)
            layers = _layers_of_run(workdir)
        classifier = Classifier(model, **layers)
    except InputError as error:
        raise InputError(f"`{argument}` {path}: {_remedied(error, IN_FILE)}") from error
    digest = network_digest(model, classifier.layer_names)
    described |= {} if digest is None else {NETWORK: digest}
    classes, shape = classifier.num_classes, _known(classifier.image_shape)
    names = read_class_names(argument, path, classes)
    return Subject(path, classifier.logits, classes, shape, described, given, classifier, names, workdir)


def _recipe(workdir: Workdir) -> "Recipe":
    from agkd_tf.training.recipe_file import read_recipe  # loads TensorBoard, which takes a second

    return read_recipe(workdir.path)


def _layers_of_run(workdir: Workdir) -> dict[str, str]:
    if not workdir.flags.is_file():
        return {}
    recipe = _recipe(workdir)
    names = {part: getattr(recipe, f"{part}_layer") for part in PARTS}
    return {part: name for part, name in names.items() if name}


def _check_one_to_one(argument: str, path: str, model: keras.Model, logits: str | None = None) -> None:
    """Checks that a network has one input and one output, if Keras knows them."""
    tensors = {name: getattr(model, name, None) or () for name in ("inputs", "outputs")}
    counts = [len(each) for each in tensors.values()]
    if max(counts) > 1 and not (counts[0] == 1 and logits):
        names = [", ".join(str(each.name) for each in tensors["inputs"]), ", ".join(map(str, model.output_names))]
        remedy = "; choose one by its layer: `logits_layer=LAYER`"
        raise InputError(
            f"`{argument}` must have one input, the images, and one output, the logits. Received: {path} "
            f"from {names[0]} to {names[1]}{remedy if counts[0] == 1 else ''}"
        )
