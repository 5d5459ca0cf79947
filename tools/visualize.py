"""Draws what networks see and how they arrange it.

  python -m tools.visualize attention --workdir=runs/quickstart/agkd_bml
  python -m tools.visualize tsne --workdirs=runs/quickstart/undefended,runs/quickstart/agkd_bml

attention: a row an image, of the classes that the attack takes most from or those of --images: clean, adversary,
perturbation, attention maps of teacher and student; and how far the attack moves the student's maps. tsne: a row an
attacked class, a column a run, and, for the images that were looked at, how many of an adversary's nearest clean
images are of its true class. Figures are written as PNG and PDF, and into TensorBoard, numbers beside them as
JSON; t-SNE's embeddings into TensorBoard's projector, too.
"""

import json
import pathlib

import numpy as np
import tensorflow as tf
from absl import flags

from agkd_tf.analysis import NEIGHBORS, attention_shift, check_separable, class_separation, embed, tsne
from agkd_tf.attacks import parse_attack
from agkd_tf.attention import ATTENTION_MAPS
from agkd_tf.compilation import resolve_jit_compile
from agkd_tf.data import load_dataset
from agkd_tf.data.pixels import as_float
from agkd_tf.errors import InputError
from agkd_tf.evaluation import Outcome, run_attack, subject_at
from agkd_tf.files import write_text
from agkd_tf.models import Classifier
from agkd_tf.monitoring import (
    TSNEPanel,
    attention_figure,
    most_attacked,
    pixels,
    save_figure,
    tsne_figure,
    write_projector,
)
from agkd_tf.perturbation_size import format_size
from agkd_tf.training.recipe_file import read_recipe
from agkd_tf.workdir import Workdir
from tools import _app, _flags
from tools._progress import progress, say
from tools._subject import run_data_and_eps
from tools._table import separation_table

FLAGS = flags.FLAGS
TSNE_FOLDER = "runs/tsne"

flags.DEFINE_string("workdir", None, "attention: folder of the run.")
flags.DEFINE_list("workdirs", [], "tsne: folders of the runs, separated by commas; a column each.")
flags.DEFINE_list("titles", [], "tsne: titles of the columns, separated by commas; the folders' names if not given.")
flags.DEFINE_string(
    "output", None, f"Folder to write to; if not given: attention: the run's figures/; tsne: {TSNE_FOLDER}."
)
flags.DEFINE_string("attack", "pgd-20", "Attack behind the adversaries.")
_flags.define_data()
_flags.define_data_place()
_flags.define_eps("attack")
flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Split that images are of.")
flags.DEFINE_integer("num_examples", 1000, "First so many images of the split are looked at.", 1)
flags.DEFINE_list("images", [], "attention: places of the images in the split, separated by commas.")
flags.DEFINE_integer("rows", 6, "attention: most attacked classes that are shown, where --images is not given.", 1)
flags.DEFINE_enum("attention", "agkd", sorted(ATTENTION_MAPS), "attention: map that is drawn.")
flags.DEFINE_list("classes", [], "tsne: numbers of the attacked classes, separated by commas; all if not given.")
flags.DEFINE_integer("rows_per_figure", 5, "tsne: attacked classes in one picture.", 1)
flags.DEFINE_integer("clean_per_class", 50, "tsne: clean images of each class.", 1)
flags.DEFINE_integer("adversaries_per_class", 50, "tsne: adversaries of the attacked class.", 1)
flags.DEFINE_integer("neighbors", NEIGHBORS, "tsne: nearest clean images that are counted.", 1)
flags.DEFINE_integer("batch_size", 100, "Images a step.", 1)
flags.DEFINE_integer("seed", 0, "Seed of attack and t-SNE.", 0, 2**31 - 1)
_flags.define_jit_compile()
_flags.define_progress()


def main(argv):
    """Draws what the first word names."""
    {"attention": _attention, "tsne": _tsne}[argv[1]]()


def _attention():
    if not FLAGS.workdir:
        raise InputError("`workdir`, the run's folder, is needed: --workdir=runs/NAME")
    workdir = Workdir(FLAGS.workdir)
    subject, teacher = subject_at("workdir", FLAGS.workdir), _teacher(workdir)
    dataset, eps = _data([FLAGS.workdir], subject.class_names)
    examples = dataset.split(FLAGS.split)
    if FLAGS.images:
        places = _numbers("images", len(examples))
        looked_at = examples.take(np.array(places))
        adversaries, _ = _attacked(subject, looked_at, FLAGS.attack, eps)
        shown = adversaries
    else:
        looked_at = examples.take(slice(0, FLAGS.num_examples))
        _, clean = _attacked(subject, looked_at, "clean", eps)
        adversaries, broken = _attacked(subject, looked_at, FLAGS.attack, eps)
        places = most_attacked(looked_at.labels, clean, broken, FLAGS.rows)
        # The very adversaries that fooled: attacked by themselves they would start elsewhere.
        shown = adversaries[places]
        if not places:
            raise InputError(
                f"`attack` {FLAGS.attack} breaks none of {len(looked_at)} images: choose some with --images"
            )
    figure = attention_figure(
        subject.classifier,
        examples.take(np.array(places)),
        shown,
        eps=eps,
        class_names=dataset.class_names,
        teacher=teacher,
        attention=FLAGS.attention,
    )
    folder = pathlib.Path(FLAGS.output) if FLAGS.output else workdir.figures
    name = _file_name(f"attention_{FLAGS.attention}_{FLAGS.attack}")
    _write(figure, folder / name, workdir.tensorboard / "figures")
    say(f"Images {', '.join(map(str, places))} of {dataset.name} {FLAGS.split}, l_inf eps {format_size(eps)}")
    shift = attention_shift(
        subject.classifier,
        looked_at,
        adversaries,
        teacher=teacher,
        attention=FLAGS.attention,
        batch_size=FLAGS.batch_size,
    )
    numbers = {other: {"mean": mean, "interval": interval} for other, (mean, interval) in shift.items()}
    settings = _settings(dataset, eps, len(looked_at)) | {"attention": FLAGS.attention}
    write_text(folder / f"{name}.json", json.dumps(settings | {"distance_to": numbers}, indent=2) + "\n")
    say(f"Mean |difference| of the student's maps of {len(looked_at)} adversaries, with 95 % interval, to the maps of")
    for other, (mean, (low, high)) in shift.items():
        say(f"  {other}: {mean:.4f} ({low:.4f}-{high:.4f})")


def _tsne():
    if not FLAGS.workdirs:
        raise InputError("`workdirs` is needed: --workdirs=runs/A,runs/B")
    subjects = {title: subject_at("workdirs", path) for title, path in zip(_titles(), FLAGS.workdirs, strict=True)}
    known = next((each.class_names for each in subjects.values() if each.class_names is not None), None)
    subjects = {title: each.numbered_by("workdirs", known) for title, each in subjects.items()}
    dataset, eps = _data(FLAGS.workdirs, known)
    examples = dataset.split(FLAGS.split).take(slice(0, FLAGS.num_examples))
    attacked = _numbers("classes", dataset.num_classes) if FLAGS.classes else list(range(dataset.num_classes))
    shown = {label: np.flatnonzero(examples.labels == label) for label in range(dataset.num_classes)}
    empty = [label for label in attacked if not len(shown[label])]
    if empty:
        raise InputError(f"`classes`: no image of class {empty[0]} is among the first {len(examples)}: --num_examples")
    check_separable(examples.labels, neighbors=FLAGS.neighbors, name="num_examples")
    clean_places = np.concatenate([places[: FLAGS.clean_per_class] for places in shown.values()])
    folder = pathlib.Path(FLAGS.output or TSNE_FOLDER)
    rows, separations = {label: {} for label in attacked}, {}
    for title, subject in subjects.items():
        say(f"{title}: {len(examples)} images under {FLAGS.attack}")
        adversaries, _ = _attacked(subject, examples, FLAGS.attack, eps)
        clean, moved = (
            embed(subject.classifier, images, batch_size=FLAGS.batch_size) for images in (examples.images, adversaries)
        )
        separations[title] = class_separation(clean, moved, examples.labels, neighbors=FLAGS.neighbors)
        show = progress().counting("t-SNE", "fit")
        for count, label in enumerate(attacked):
            places = shown[label][: FLAGS.adversaries_per_class]
            points = tsne(np.concatenate([clean[clean_places], moved[places]]), seed=FLAGS.seed)
            split = len(clean_places)
            rows[label][title] = TSNEPanel(points[:split], examples.labels[clean_places], points[split:])
            if show:
                show(count + 1, len(attacked))
        place = folder / "tensorboard" / _file_name(f"{title}_{FLAGS.attack}")
        _project(place, dataset, examples, adversaries, clean, moved, clean_places)
    step, name = FLAGS.rows_per_figure, _file_name(f"tsne_{FLAGS.attack}")
    for begin in range(0, len(attacked), step):
        part = {label: rows[label] for label in attacked[begin : begin + step]}
        suffix = f"_{begin // step + 1}" if len(attacked) > step else ""
        figure = tsne_figure(part, class_names=dataset.class_names, attack=FLAGS.attack)
        _write(figure, folder / f"{name}{suffix}", folder / "tensorboard")
    settings = _settings(dataset, eps, len(examples)) | {"neighbors": FLAGS.neighbors}
    numbers = {title: {"workdir": subjects[title].path} | found._asdict() for title, found in separations.items()}
    write_text(folder / f"{name}.json", json.dumps(settings | {"models": numbers}, indent=2) + "\n")
    say(f"\n{len(examples)} {FLAGS.split} images, l_inf eps {format_size(eps)}, mean and 95 % interval")
    say(separation_table(separations, neighbors=FLAGS.neighbors, attack=FLAGS.attack))
    say(f"\nTo turn the embeddings: tensorboard --logdir={folder / 'tensorboard'}, Projector")


def _titles():
    """Returns the titles of the runs' columns: those given, or the names of their folders.

    Raises:
        InputError: if they are not as many as the runs, or two are the same.
    """
    titles = FLAGS.titles or [pathlib.Path(path).name for path in FLAGS.workdirs]
    if len(titles) != len(FLAGS.workdirs):
        raise InputError(
            f"`titles` must be as many as the {len(FLAGS.workdirs)} of `workdirs`. Received: {','.join(titles)}"
        )
    if len(set(titles)) < len(titles):
        raise InputError(f"`workdirs` must have names of their own, or `titles`. Received: {','.join(titles)}")
    return titles


def _file_name(text):
    # An attack's name may hold the size of its steps, such as 1/255.
    return text.replace("/", "_")


def _teacher(workdir):
    """Returns the `Classifier` of the run's teacher, or None."""
    recipe = read_recipe(workdir.flags)
    if not recipe.needs_teacher:
        return None
    return Classifier(recipe.load_teacher(recipe.teacher or workdir.teacher.path))


def _data(paths, class_names):
    """Returns (data set, eps) that all runs share; its labels are numbered by `class_names`, unless None.

    Raises:
        InputError: if they do not, and no flag settles it.
    """
    found = [run_data_and_eps(path) for path in paths]
    for path, (data, eps) in zip(paths, found, strict=True):
        for name, value in data.items():
            if value != found[0][0][name]:
                raise InputError(f"`workdirs`: {path} is of --{name}={value}, {paths[0]} of {found[0][0][name]}")
        if FLAGS.eps is None and eps != found[0][1]:
            raise InputError(f"`workdirs`: {path} has eps {eps:g}, {paths[0]} {found[0][1]:g}: give one with --eps")
    dataset = load_dataset(
        **found[0][0], **_flags.data_place(), training=FLAGS.split == "train", class_names=class_names
    )
    if not len(dataset.split(FLAGS.split)):
        raise InputError(f"`split`: {dataset.name} has no {FLAGS.split} images, only test images: --split=test")
    return dataset, found[0][1] if FLAGS.eps is None else FLAGS.eps


def _attacked(subject, examples, name, eps):
    """Returns (adversaries float32 [N, H, W, C], the classes seen in them)."""
    attack = parse_attack(name, eps=eps, num_classes=subject.num_classes)
    outcome, adversaries = Outcome.fresh(len(examples)), np.empty(examples.images.shape, np.float32)
    run_attack(
        subject.logits,
        examples,
        attack,
        batch_size=FLAGS.batch_size,
        seed=FLAGS.seed,
        jit_compile=resolve_jit_compile(_flags.switch("jit_compile")),
        outcome=outcome,
        adversaries=adversaries,
        progress=progress().of_attack(name),
    )
    return adversaries, outcome.prediction


def _project(folder, dataset, examples, adversaries, clean, moved, places):
    """Writes the embeddings of some images, clean and attacked, to TensorBoard's projector."""
    names = [dataset.class_names[label] for label in examples.labels[places]]
    kinds = [f"{kind} {name}" for kind in ("clean", "adversary") for name in names]
    images = np.concatenate([as_float(tf.constant(examples.images[places])), adversaries[places]])
    metadata = {"kind and class": kinds, "class": names * 2, "place": [str(place) for place in places] * 2}
    write_projector(folder, "embeddings", np.concatenate([clean[places], moved[places]]), images, metadata)


def _settings(dataset, eps, count):
    """Returns for JSON what numbers beside a figure were measured on."""
    attack = {"attack": FLAGS.attack, "eps": eps, "seed": FLAGS.seed}
    return attack | {"dataset": dataset.name, "split": FLAGS.split, "num_examples": count}


def _write(figure, path, folder):
    """Writes a figure to files and to TensorBoard."""
    paths = save_figure(figure, path)
    with tf.summary.create_file_writer(str(folder)).as_default():
        tf.summary.image(path.name, pixels(figure)[None], step=0)
    say(f"Drawn in {' and '.join(map(str, paths))}")


def _numbers(name, count):
    """Returns the integers in [0, count) that a list flag holds."""
    try:
        numbers = [int(text) for text in FLAGS[name].value]
    except ValueError:
        numbers = [-1]
    if not all(0 <= number < count for number in numbers):
        raise InputError(f"`{name}` must be integers in [0, {count - 1}]. Received: {','.join(FLAGS[name].value)}")
    return numbers


if __name__ == "__main__":
    _app.run(main, commands=("attention", "tsne"))
