"""Flags: the library's settings, grouped by topic, and a few that only the tools have."""

import dataclasses
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from absl import flags

from agkd_tf.attacks.registry import GRAMMAR
from agkd_tf.compilation import JitCompile
from agkd_tf.data import load_dataset
from agkd_tf.defenses import DEFENSES, Defense
from agkd_tf.distribution import DISTRIBUTIONS
from agkd_tf.settings import Setting, settings_of
from agkd_tf.training import Recipe, default_hyperparameters
from agkd_tf.training.recipe import recipe_settings
from tools._remedies import ADAPT

FLAGS = flags.FLAGS
COMPUTATION = "computation"
SIZE = " A fraction such as 8/255 or a decimal such as 0.031, for images in [0, 1]."
SWITCH: dict[str, JitCompile] = {"auto": "auto", "on": True, "off": False}
DATA = ("dataset", "image_size", "train_examples", "validation_examples")
LAYERS = ("features_layer", "embedding_layer", "logits_layer")
TEACHER = ("teacher", "teacher_label_smoothing", "teacher_epochs", "teacher_decay_epochs", "init_from_teacher")


class SettingParser(flags.ArgumentParser):
    """Parses a flag's text by a `Setting`, and checks the value."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    def parse(self, argument: Any) -> Any:
        return self._setting.parse(argument) if isinstance(argument, str) else argument

    def flag_type(self) -> str:
        return self._setting.kind.__name__


class SettingSerializer(flags.ArgumentSerializer):
    """Writes the value of a `Setting` as a flag's text."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    def serialize(self, value: Any) -> str:
        return self._setting.format(value)


def define(
    group: str, settings: Iterable[Setting], *, prefix: str = "", defaults: Mapping[str, Any] | None = None
) -> None:
    """Defines a flag for each setting, under a heading in `--help` and `--helpfull`.

    Args:
        group: the heading.
        settings: the settings.
        prefix: prefix of the flags' names.
        defaults: name -> default of the flag; if not given, the defaults of the settings are used.
    """
    for setting in settings:
        default = setting.default if defaults is None else defaults.get(setting.name)
        default = None if default is inspect.Parameter.empty else default
        name, text = prefix + setting.name, setting.help
        text += "" if setting.choices is None else f" One of {', '.join(setting.choices)}."
        text += "" if setting.size is None else SIZE
        if setting.kind is bool:
            flags.DEFINE_bool(name, default, text, module_name=group)
        else:
            flags.DEFINE(SettingParser(setting), name, default, text, FLAGS, SettingSerializer(setting), group)


def define_eps(group: str) -> None:
    """Defines `--eps`, which has no default."""
    text = "Radius of the ball that adversaries lie in; the run's own if not given."
    eps = dataclasses.replace(settings_of(Defense)["eps"], help=text)
    define(group, [eps], defaults={})


def define_data() -> None:
    """Defines the flags that choose the data set."""
    define("data set", _fields(DATA))


def define_data_place() -> None:
    """Defines the flags that state where the data is."""
    define("where the data is", settings_of(load_dataset).values())


def define_pixels_of_network(group: str = "network from a file", *, prefix: str = "") -> None:
    """Defines the flags that state which pixels a network takes; see `pixels_of_network`."""
    define(group, _fields(ADAPT.values()), prefix=prefix)


def define_network() -> None:
    """Defines the flags that state the pixels and the layers of a network from a file."""
    define_pixels_of_network()
    define("network from a file", _fields(LAYERS))


def define_recipe() -> None:
    """Defines the flags of `Recipe` except those of the data set; together they define a run."""
    define_network()
    own = ("activation", "input_mean", "input_std", "reinitialize", "mixed_precision", "synchronized_bn", "init_from")
    define("network", _fields(("model", *own)))
    define("teacher that is trained first", _fields(TEACHER))
    rest = [name for name in settings_of(Recipe) if name not in FLAGS and name not in DATA]
    define("training", _fields(rest))
    takers: dict[str, list[str]] = {}
    for defense in DEFENSES:
        for name in default_hyperparameters(defense):
            takers.setdefault(name, []).append(defense)
    for name, defenses in takers.items():
        group = "every defense" if len(defenses) == len(DEFENSES) else f"defense {', '.join(defenses)}"
        if set(defenses) == set(DEFENSES) - {"undefended"}:
            group = "training attack of every defense except undefended"
        define(group, [recipe_settings()[name]], defaults={})


def _fields(names: Iterable[str]) -> list[Setting]:
    return [settings_of(Recipe)[name] for name in names]


def data_settings() -> dict[str, Any]:
    """Returns the values of the flags that choose the data set."""
    return {name: FLAGS[name].value for name in DATA}


def data_place() -> dict[str, Any]:
    """Returns where the data is, as keyword arguments of `load_dataset`."""
    return {name: FLAGS[name].value for name in settings_of(load_dataset)}


def pixels_of_network(*, prefix: str = "") -> dict[str, Any]:
    """Returns the arguments of `adapt` that were given by the flags of `define_pixels_of_network`."""
    values = {argument: FLAGS[prefix + name].value for argument, name in ADAPT.items()}
    return {name: value for name, value in values.items() if value is not None}


def layers_of_network() -> dict[str, str]:
    """Returns the arguments of `Classifier` that were given by flags."""
    return {name.removesuffix("_layer"): str(FLAGS[name].value) for name in LAYERS if FLAGS[name].value is not None}


def recipe_from_flags() -> Recipe:
    """Returns the `Recipe` that the flags describe.

    Raises:
        InputError: for flags that contradict each other.
    """
    return Recipe.of({name: FLAGS[name].value for name in recipe_settings() if FLAGS[name].present})


def given_recipe_flags() -> list[str]:
    """Returns the given flags that define a run, one per line, as in a flagfile."""
    return [FLAGS[name].serialize() for name in recipe_settings() if FLAGS[name].present]


def define_evaluation() -> None:
    """Defines the flags of an evaluation."""
    group = "evaluation"
    text = f"Attacks, separated by commas: {GRAMMAR}; autoattack-estimate for AutoAttack on a sample (--precision); "
    text += "transfer:SOURCE for adversaries crafted on another run, .keras file or SavedModel."
    flags.DEFINE_list("attacks", "clean,fgsm,pgd-20,cw-20", text, module_name=group)
    flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Split to evaluate on.", module_name=group)


def define_jit_compile(flag_values: flags.FlagValues = FLAGS) -> None:
    """Defines `--jit_compile`."""
    text = "Compile attacks, passes and gradients with XLA; auto: on with a GPU or TPU, off on the CPU, where it is "
    text += "slower."
    flags.DEFINE_enum("jit_compile", "auto", list(SWITCH), text, flag_values, COMPUTATION)


def define_resident(flag_values: flags.FlagValues = FLAGS) -> None:
    """Defines `--resident`."""
    text = "Keep the training images on the accelerator, and send it only indices; auto: if they take at most 2 GiB."
    flags.DEFINE_enum("resident", "auto", list(SWITCH), text, flag_values, COMPUTATION)


def switch(name: str, flag_values: flags.FlagValues = FLAGS) -> JitCompile:
    """Returns the value of `--jit_compile` or `--resident` in the library's form."""
    return SWITCH[str(flag_values[name].value)]


def define_distribution(*, allowed: Iterable[str] = DISTRIBUTIONS) -> None:
    """Defines `--distribution`."""
    meanings = {
        "none": "one device",
        "mirrored": "all accelerators of this machine",
        "multi_worker": "the machines named by the environment variable TF_CONFIG",
    }
    text = f"Devices to use. {'; '.join(f'{name}: {meanings[name]}' for name in allowed)}."
    flags.DEFINE_enum("distribution", "none", list(allowed), text, module_name=COMPUTATION)


def define_progress() -> None:
    """Defines `--progress`."""
    text = "Show progress as a bar, as lines, or not at all; auto: a bar on a terminal, lines elsewhere."
    flags.DEFINE_enum("progress", "auto", ["auto", "bar", "lines", "off"], text, module_name=COMPUTATION)
