"""Flags that choose a model, and the data and eps that go with it."""

from typing import Any

from absl import flags

from agkd_tf.errors import InputError
from agkd_tf.evaluation import Subject, subject_at
from agkd_tf.training.recipe_file import read_recipe
from agkd_tf.workdir import Workdir
from tools import _flags

FLAGS = flags.FLAGS
KINDS = ("workdir", "model_file", "saved_model")
SAVED_MODEL = ("signature", "output", "probabilities")  # flags for a SavedModel


def define_model(group: str = "model") -> None:
    """Defines the flags that choose a model: that of a run, or another one."""
    flags.DEFINE_string("workdir", None, "Folder of the run whose classifier to use.", module_name=group)
    text = "Use the classifier in this .keras or .h5 file instead of a run's."
    flags.DEFINE_string("model_file", None, text, module_name=group)
    text = "Use this SavedModel instead of a run's classifier. It is a program: load only one that you trust."
    flags.DEFINE_string("saved_model", None, text, module_name=group)
    text = "Signature of the SavedModel to call; if not given, serving_default or the only one."
    flags.DEFINE_string("signature", None, text, module_name=group)
    text = "Output of the SavedModel that holds the logits; if not given, the one named logits or the only one."
    flags.DEFINE_string("output", None, text, module_name=group)
    text = "The SavedModel returns probabilities; use their logarithms as logits."
    flags.DEFINE_bool("probabilities", False, text, module_name=group)


def subject_from_flags() -> Subject:
    """Returns the `Subject` that the flags of `define_model` choose.

    Raises:
        InputError: for no model, several models, or one that cannot be read; for flags that the model does not take.
    """
    named = {kind: str(FLAGS[kind].value) for kind in KINDS if FLAGS[kind].value}
    if len(named) != 1:
        raise InputError("one of `workdir`, `model_file` and `saved_model` is needed: --workdir=runs/NAME")
    ((kind, path),) = named.items()
    return subject_at(kind, path, **network_settings(), **{name: FLAGS[name].value for name in SAVED_MODEL})


def network_settings() -> dict[str, Any]:
    """Returns the settings for reading a network from a file: the given flags of `define_network`."""
    layers = {f"{part}_layer": layer for part, layer in _flags.layers_of_network().items()}
    return _flags.pixels_of_network() | layers


def data_settings() -> dict[str, Any]:
    """Returns the data set's settings: from flags that were given, else from the run.

    Raises:
        InputError: without a run, if flags are missing that a run would supply.
    """
    if FLAGS.workdir:
        return data_of_run(FLAGS.workdir)
    missing = [name for name in ("eps", "record") if FLAGS[name].value is None]
    if missing or not FLAGS["dataset"].present:
        raise InputError("without `workdir`, these flags are needed, too: --dataset, --eps, --record")
    return _flags.data_settings()


def data_of_run(path: str) -> dict[str, Any]:
    """Returns the data set's settings of a run; flags that were given override them.

    Raises:
        InputError: if there is no run.
    """
    recipe = read_recipe(Workdir(path).flags)
    data = {name: getattr(recipe, name) for name in _flags.DATA}
    return data | {name: FLAGS[name].value for name in _flags.DATA if FLAGS[name].present}
