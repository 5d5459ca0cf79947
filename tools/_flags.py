"""Flags, their files, and the dataclasses that they become."""

import dataclasses
import sys

from absl import flags

from agkd_tf.attacks.registry import GRAMMAR
from agkd_tf.attention import ATTENTION_MAPS
from agkd_tf.data import DATASET_NAMES
from agkd_tf.data.augmentation import AUGMENTATIONS
from agkd_tf.defenses import DEFENSES
from agkd_tf.defenses.alp import PAIRINGS
from agkd_tf.defenses.bilateral import TARGETS
from agkd_tf.defenses.defense import DECAYED
from agkd_tf.distribution import DISTRIBUTIONS
from agkd_tf.errors import InputError, check_eps, check_range
from agkd_tf.files import write_text
from agkd_tf.models import MODEL_NAMES
from agkd_tf.models.adapt import CHANNELS
from agkd_tf.perturbation_size import format_size, parse_size
from agkd_tf.training import Recipe, default_hyperparameters
from agkd_tf.training.checkpoints import SELECT_BEST
from agkd_tf.training.recipe import PRECISIONS

EPOCH_LISTS = ("decay_epochs", "teacher_decay_epochs")
NUMBER_LISTS = ("pixel_range", "pixel_mean", "pixel_std")
LISTS = EPOCH_LISTS + NUMBER_LISTS
SWITCH = {"auto": "auto", "on": True, "off": False}
DEFAULT = "the defense's own default"
LARGEST = 2**31 - 1  # what TensorFlow counts to


class PixelParser(flags.ArgumentParser):
    """Perturbation sizes for images in [0, 1]: `8/255` or `0.031`.

    Args:
        name: of the flag.
        bounded: whether sizes above 1 are refused, as an l_inf ball's are.
    """

    syntactic_help = "a fraction such as 8/255 or a decimal such as 0.031, for images in [0, 1]"

    def __init__(self, name, *, bounded=True):
        self._name, self._bounded = name, bounded

    def parse(self, argument):
        if isinstance(argument, float):
            return argument
        value = parse_size(str(argument))
        if self._bounded:
            return check_eps(self._name, value)
        return check_range(self._name, value, 0.0, sys.float_info.max)

    def flag_type(self):
        return "pixels"


class PixelSerializer(flags.ArgumentSerializer):
    """Writes a perturbation size as a fraction of 255 where it is a whole one."""

    def serialize(self, value):
        return format_size(value)


def define_pixels(name, default, text, flag_values, *, bounded=True):
    """Defines a flag whose value is in units of images in [0, 1]; see `PixelParser`."""
    flags.DEFINE(PixelParser(name, bounded=bounded), name, default, text, flag_values, PixelSerializer())


def define_data(flag_values=flags.FLAGS):
    """Defines the flags that choose the data, and where it is."""
    flags.DEFINE_string("dataset", "digits", f"Data set: {', '.join(DATASET_NAMES)}.", flag_values)
    flags.DEFINE_integer(
        "image_size",
        None,
        "Height and width that images are cropped and scaled to; as they are if not given.",
        1,
        4096,
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "train_examples",
        None,
        "Train on the first so many images of the training split; all if not given.",
        1,
        LARGEST,
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "validation_examples",
        None,
        "Images held out of the training split; a tenth of it if not given.",
        1,
        LARGEST,
        flag_values=flag_values,
    )


def define_data_place(flag_values=flags.FLAGS):
    """Defines the flags that say where data is."""
    flags.DEFINE_string("data_dir", None, "Folder of prepared tensorflow-datasets.", flag_values)
    flags.DEFINE_string(
        "manual_dir", None, "Folder of archives fetched by hand, to prepare a data set from.", flag_values
    )
    flags.DEFINE_bool("download", False, "Fetch the data set from the network if it is not prepared.", flag_values)
    flags.DEFINE_string(
        "images_dir",
        None,
        "Folder of a fast disk to keep decoded images on while the program runs, for a data set that host memory has "
        "no room for; host memory if not given.",
        flag_values,
    )
    flags.DEFINE_bool(
        "skip_damaged", False, "image_folder: leave out files that cannot be decoded, and name them.", flag_values
    )


def define_pixels_of_network(flag_values=flags.FLAGS, *, prefix="", whose="a network from a file"):
    """Defines the flags that say what images a network takes; see `network_settings`."""
    flags.DEFINE_list(
        f"{prefix}pixel_range",
        None,
        f"Least and greatest pixel value that {whose} takes, such as 0,255; 0,1 if not given, as runs do.",
        flag_values,
    )
    for name, what in (("pixel_mean", "subtracted"), ("pixel_std", "divided by")):
        flags.DEFINE_list(
            f"{prefix}{name}",
            None,
            f"What pixels are {what} for {whose}: a number, or one a channel, in units of --{prefix}pixel_range.",
            flag_values,
        )
    flags.DEFINE_enum(f"{prefix}channels", None, list(CHANNELS), f"first: {whose} takes [B, C, H, W].", flag_values)


def define_network(flag_values=flags.FLAGS):
    """Defines the flags that say what a network from a file takes and shows."""
    define_pixels_of_network(flag_values)
    for part, what in (
        ("features", "feature map"),
        ("embedding", "embedding"),
        ("logits", "logits"),
    ):
        flags.DEFINE_string(
            f"{part}_layer",
            None,
            f"Layer that makes the {what}, such as backbone/conv5_block3_out; found if not given.",
            flag_values,
        )


def network_settings(flag_values=flags.FLAGS):
    """Returns (`adapt`'s arguments, `Classifier`'s), those that were given.

    Raises:
        InputError: for values that are no numbers.
    """
    layers = {part: flag_values[f"{part}_layer"].value for part in ("features", "embedding", "logits")}
    return pixels_of_network(flag_values), {part: name for part, name in layers.items() if name is not None}


def pixels_of_network(flag_values=flags.FLAGS, *, prefix=""):
    """Returns `adapt`'s arguments, those that were given by the flags of `define_pixels_of_network`.

    Raises:
        InputError: for values that are no numbers.
    """
    names = {"pixel_range": "pixel_range", "mean": "pixel_mean", "std": "pixel_std", "channels": "channels"}
    values = {name: flag_values[prefix + flag].value for name, flag in names.items()}
    values |= {name: _numbers(prefix + names[name], values[name]) for name in ("pixel_range", "mean", "std")}
    return {name: value for name, value in values.items() if value is not None}


def _numbers(name, texts):
    if texts is None:
        return None
    try:
        return tuple(float(text) for text in texts)
    except ValueError:
        raise InputError(f"`{name}` must be numbers separated by commas. Received: {','.join(texts)}") from None


def define_recipe(flag_values=flags.FLAGS):
    """Defines the flags of `Recipe`: together with the data's, they define a run."""
    fields = {field.name: field.default for field in dataclasses.fields(Recipe)}

    def integer(name, text, low, default=None):
        flags.DEFINE_integer(name, default, text, low, LARGEST, flag_values=flag_values)

    def number(name, text, low=0.0, high=None, default=None):
        flags.DEFINE_float(name, default, text, low, high, flag_values=flag_values)

    def boolean(name, text):
        flags.DEFINE_bool(name, None, f"{text}; {DEFAULT} if not given.", flag_values)

    def choice(name, allowed, text):
        flags.DEFINE_enum(name, None, allowed, f"{text}; {DEFAULT} if not given.", flag_values)

    flags.DEFINE_enum(
        "augmentation",
        None,
        sorted(AUGMENTATIONS),
        "Training augmentation; the data set's own if not given.",
        flag_values,
    )
    flags.DEFINE_string(
        "model",
        fields["model"],
        f"Network: {', '.join(MODEL_NAMES)}; or FILE.keras, a network of one's own, from its weights on.",
        flag_values,
    )
    flags.DEFINE_bool("reinitialize", None, "Start the network of --model=FILE.keras from fresh weights.", flag_values)
    define_network(flag_values)
    flags.DEFINE_enum(
        "mixed_precision",
        fields["mixed_precision"],
        list(PRECISIONS),
        "What the network computes in; losses and attacks accumulate in float32.",
        flag_values,
    )
    flags.DEFINE_bool(
        "synchronized_bn",
        fields["synchronized_bn"],
        "BN statistics of the whole batch where several replicas share it; excludes XLA.",
        flag_values,
    )
    flags.DEFINE_enum("defense", fields["defense"], sorted(DEFENSES), "How the network is trained.", flag_values)
    flags.DEFINE_string("init_from", None, "Run's folder or .keras file to start the student from.", flag_values)
    flags.DEFINE_string(
        "teacher", None, "Run's folder or .keras file of the clean teacher; trained first if not given.", flag_values
    )
    number(
        "teacher_label_smoothing",
        "Label smoothing of a teacher that is trained first.",
        high=1.0,
        default=fields["teacher_label_smoothing"],
    )
    integer("teacher_epochs", "Epochs of a teacher that is trained first; --epochs if not given.", 1)
    flags.DEFINE_list(
        "teacher_decay_epochs",
        None,
        "Decay epochs of a teacher that is trained first; --decay_epochs if not given.",
        flag_values,
    )
    flags.DEFINE_bool(
        "init_from_teacher",
        None,
        "Start the student from the clean teacher's weights; if not given, bml, agkd and agkd_bml do, others do not.",
        flag_values,
    )
    integer(
        "pool_capacity",
        "Images of each class kept on the device, to draw second images from; all if not "
        "given. A smaller pool is drawn anew each epoch.",
        1,
    )

    define_pixels("eps", 8 / 255, "Radius of the l_inf ball.", flag_values)
    integer("attack_steps", f"Steps of the training attack; {DEFAULT} if not given.", 0)
    define_pixels(
        "attack_step_size",
        None,
        "Step of the training attack; eps for up to 2 steps and a quarter of it beyond, if not given.",
        flag_values,
    )
    boolean("random_start", "Begin training attacks at a random point of the ball")
    define_pixels(
        "start_stddev",
        None,
        "Standard deviation of a Gaussian random start; a uniform one, or trades' and mart's 0.001, if not given.",
        flag_values,
    )
    integer("validation_attack_steps", "Steps of the PGD attack behind val_robust_accuracy; 0 for none.", 0, 10)
    number("label_smoothing", f"Mass taken from the true class; {DEFAULT} if not given.", high=1.0)
    number("attention_weight", f"Weight of the attention distillation; {DEFAULT} if not given.")
    choice("attention", sorted(ATTENTION_MAPS), "Attention map that is distilled")
    number("triplet_weight", f"Weight of the metric loss; {DEFAULT} if not given.")
    number("margin", f"Margin of the triplet; {DEFAULT} if not given.")
    number("same_image_margin", "sml: margin where the positive is the clean image itself; --margin if not given.")
    number("norm_weight", f"Weight of the embeddings' size within the metric loss; {DEFAULT} if not given.")
    number("pairing_weight", f"Weight of alp's logit pairing, of sml's embedding pairing; {DEFAULT} if not given.")
    choice("pairing", list(PAIRINGS), "alp: what of an image and its adversary is paired")
    integer("candidates_per_image", "sml: clean images to mine a negative from, for each image of a batch.", 1)
    define_pixels("clean_noise", None, "sml: noise on the clean image.", flag_values)
    boolean("mart", "Add the MART terms to bml, agkd, agkd_bml")
    number("mart_beta", f"Weight of MART's divergence; {DEFAULT} if not given.")
    number("trades_beta", f"Weight of TRADES' divergence; {DEFAULT} if not given.")
    choice("target", TARGETS, "bilateral: class that is attacked towards")
    boolean("label_adversary", "bilateral: perturb the labels too")
    number("label_ratio", "bilateral: how many times the true class outweighs the largest other in the label.", 1.0)
    number(
        "label_gap",
        f"bilateral: how far the class confused most stays from no mass in the label; {DEFAULT} if not given.",
        1e-6,
    )
    number("transport_regularization", f"feature_scatter: Sinkhorn's entropy weight; {DEFAULT} if not given.", 1e-6)
    integer("transport_iterations", f"feature_scatter: Sinkhorn's iterations at most; {DEFAULT} if not given.", 1)
    number("transport_threshold", f"feature_scatter: where the iterations end; {DEFAULT} if not given.")
    boolean("targeted", "bml, agkd, agkd_bml: attack towards the most confusing class, not only away from the true one")
    boolean("backward_adversary", "bml, agkd, agkd_bml: attack a second image in the opposite direction, too")
    number("eps_increment", f"cat: by how much an image's eps grows; {DEFAULT} if not given.", high=1.0)
    number("smoothing_scale", f"cat: label smoothing per unit of an image's eps; {DEFAULT} if not given.")
    number("hinge_weight", f"cat_mix: weight of the hinge; {DEFAULT} if not given.")
    number("confidence", f"cat_mix: margin that the hinge asks for; {DEFAULT} if not given.")

    number("learning_rate", "First learning rate.", default=fields["learning_rate"])
    flags.DEFINE_list(
        "decay_epochs",
        [str(epoch) for epoch in fields["decay_epochs"]],
        "0-based epochs from which the rate is decayed, separated by commas.",
        flag_values,
    )
    number("decay_rate", "Factor of each decay.", high=1.0, default=fields["decay_rate"])
    number("momentum", "Momentum of SGD.", high=1.0, default=fields["momentum"])
    number("weight_decay", "wd: adds wd * w to the gradient of a weight.", default=fields["weight_decay"])
    choice("weight_decay_on", list(DECAYED), "Which weights decay: all trainable ones, or kernels only")
    number("ema", "Momentum of the moving average that the student's weights become; none if not given.", high=1.0)
    flags.DEFINE_enum(
        "select_best",
        fields["select_best"],
        list(SELECT_BEST),
        "Epoch whose student is kept: the last, or the most robust on the validation split.",
        flag_values,
    )
    integer("batch_size", "Images a step.", 1, fields["batch_size"])
    integer("epochs", "Epochs; more than a finished run had continues it.", 1, fields["epochs"])
    integer("seed", "Seed of all randomness.", 0, fields["seed"])


def recipe_from_flags(flag_values=flags.FLAGS):
    """Returns the `Recipe` that the flags describe.

    Raises:
        InputError: for flags that contradict each other.
    """
    settings = {
        field.name: flag_values[field.name].value
        for field in dataclasses.fields(Recipe)
        if field.name != "hyperparameters"
    }
    for name in EPOCH_LISTS:
        if settings[name] is not None:
            try:
                settings[name] = tuple(int(epoch) for epoch in settings[name] if epoch)
            except ValueError:
                raise InputError(f"`{name}` must be epochs. Received: {','.join(settings[name])}") from None
    settings |= {name: _numbers(name, settings[name]) for name in NUMBER_LISTS}
    known = default_hyperparameters(settings["defense"])
    hyperparameters = {}
    for name in sorted(set().union(*map(default_hyperparameters, DEFENSES))):
        flag = flag_values[name]
        # A default that every defense takes (eps) is passed on; what the user gave is checked.
        if flag.value is not None and (flag.present or name in known):
            hyperparameters[name] = flag.value
    return Recipe(**settings, hyperparameters=hyperparameters)


def flags_from_recipe(recipe):
    """Returns a fresh `FlagValues` that describes `recipe`."""
    values = recipe_flag_values()
    for field in dataclasses.fields(Recipe):
        if field.name != "hyperparameters":
            value = getattr(recipe, field.name)
            is_list = field.name in LISTS and value is not None
            _set(values, field.name, [f"{each:.12g}" for each in value] if is_list else value)
    for name, value in recipe.hyperparameters.items():
        _set(values, name, value)
    return values


def _set(values, name, value):
    values[name].value = value
    values[name].present = value is not None


def recipe_flag_values():
    """Returns a fresh `FlagValues` with the flags that define a run."""
    values = flags.FlagValues()
    define_data(values)
    define_recipe(values)
    values.mark_as_parsed()
    return values


def flag_lines(values):
    """Returns name -> flagfile line of every flag that has a value."""
    lines = {name: values[name].serialize() for name in values}
    return {name: line for name, line in lines.items() if line}


def write_flagfile(path, recipe, extra=()):
    """Writes a recipe as a flagfile that relaunches it.

    Args:
        path: file to write.
        recipe: `Recipe`.
        extra: further lines, such as `--workdir=...`.
    """
    lines = [*extra, *sorted(flag_lines(flags_from_recipe(recipe)).values())]
    write_text(path, "\n".join(lines) + "\n")


def read_flagfile(path):
    """Returns the `Recipe` that `write_flagfile` recorded.

    Raises:
        InputError: if the file is missing or holds what no flag accepts.
    """
    if not path.is_file():
        raise InputError(f"`workdir` has no {path.name}: it is not a run's folder. Received: {str(path.parent)!r}")
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} cannot be read as a flagfile: {error}") from error
    return _parsed(path, lines)


def read_recipe(path, overrides=()):
    """Returns the `Recipe` of a flagfile, such as those in `flags/`, or of a run's folder.

    Args:
        path: `pathlib.Path`.
        overrides: flags that come after the file's, such as `--batch_size=8`.

    Raises:
        InputError: if there is none, or it holds what no flag accepts.
    """
    flagfile = path / "flags.txt" if path.is_dir() else path
    if not flagfile.is_file():
        raise InputError(f"a recipe's flagfile or a run's folder is needed. Received: {str(path)!r}")
    return _parsed(flagfile, [f"--flagfile={flagfile}", *overrides])


def given_recipe_flags(flag_values=flags.FLAGS):
    """Returns the lines of the flags that define a run and were given."""
    return [flag_values[name].serialize() for name in recipe_flag_values() if flag_values[name].present]


def _parsed(path, arguments):
    values = recipe_flag_values()
    flags.DEFINE_string("workdir", None, "The run's folder.", values)
    try:
        words = values(["flagfile", *arguments])[1:]
    except (flags.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a flagfile: {error}") from error
    if any(word.strip() for word in words):
        raise InputError(f"{path} cannot be read as a flagfile: {' '.join(words).strip()!r} is no flag")
    return recipe_from_flags(values)


def differing_flags(recorded, given):
    """Returns a line for each run-defining flag in which two recipes differ; `epochs` does not count."""
    lines = [flag_lines(flags_from_recipe(recipe)) for recipe in (recorded, given)]
    names = sorted(set().union(*lines) - {"epochs"})
    absent = "not given"
    return [
        f"--{name}: recorded {_value(lines[0].get(name, absent))}, received {_value(lines[1].get(name, absent))}"
        for name in names
        if lines[0].get(name) != lines[1].get(name)
    ]


def _value(line):
    if "=" in line:
        return line.partition("=")[2]
    return {"--no": "false"}.get(line[:4], "true") if line.startswith("--") else line


def data_place(flag_values=flags.FLAGS):
    """Returns where data is, as keyword arguments of `load_dataset`."""
    names = ("data_dir", "manual_dir", "download", "images_dir", "skip_damaged")
    return {name: flag_values[name].value for name in names}


def define_evaluation(flag_values=flags.FLAGS):
    """Defines the flags of an evaluation."""
    flags.DEFINE_list(
        "attacks",
        "clean,fgsm,pgd-20,cw-20",
        f"Attacks, separated by commas: {GRAMMAR}; "
        "transfer:SOURCE for the adversaries of another run, .keras file or SavedModel.",
        flag_values,
    )
    flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Split to evaluate on.", flag_values)
    flags.DEFINE_integer(
        "num_examples", None, "First so many images of the split; all if not given.", 1, flag_values=flag_values
    )


def define_jit_compile(flag_values=flags.FLAGS):
    """Defines `--jit_compile`."""
    flags.DEFINE_enum(
        "jit_compile",
        "auto",
        list(SWITCH),
        "XLA around attacks, passes and gradients; auto: on with a GPU or TPU, off on the CPU, where it is slower.",
        flag_values,
    )


def define_resident(flag_values=flags.FLAGS):
    """Defines `--resident`."""
    flags.DEFINE_enum(
        "resident",
        "auto",
        list(SWITCH),
        "Training images stay on the accelerator, to which the host sends indices; auto: up to 2 GiB of them.",
        flag_values,
    )


def jit_compile(flag_values=flags.FLAGS):
    """Returns what `--jit_compile` asks for, as the library takes it."""
    return SWITCH[flag_values.jit_compile]


def resident(flag_values=flags.FLAGS):
    """Returns what `--resident` asks for, as the library takes it."""
    return SWITCH[flag_values.resident]


def define_distribution(flag_values=flags.FLAGS, *, allowed=DISTRIBUTIONS):
    """Defines `--distribution`."""
    meanings = {
        "none": "one device",
        "mirrored": "all accelerators of this machine",
        "multi_worker": "the machines that the environment variable TF_CONFIG names",
    }
    flags.DEFINE_enum(
        "distribution",
        "none",
        list(allowed),
        "; ".join(f"{name}: {meanings[name]}" for name in allowed) + ".",
        flag_values,
    )


def define_progress(flag_values=flags.FLAGS):
    """Defines `--progress`."""
    flags.DEFINE_enum(
        "progress",
        "auto",
        ["auto", "bar", "lines", "off"],
        "A progress bar, lines, or nothing; auto: a bar on a terminal, lines elsewhere.",
        flag_values,
    )
