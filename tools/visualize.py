"""Draws attention maps, or embeddings by t-SNE, clean and under attack.

  python -m tools.visualize attention --workdir=runs/quickstart/agkd_bml
  python -m tools.visualize tsne --workdirs=runs/quickstart/undefended,runs/quickstart/agkd_bml

attention draws a row for each image: clean, adversary, perturbation, and the attention maps of teacher and student. The
images are those of --images, or one of each class that the attack hits most. It also measures how far the attack moves
the student's maps.

tsne draws a row for each attacked class and a column for each run. It also measures how many of an adversary's nearest
clean images have its true class.

Figures are written as PNG, as PDF and to TensorBoard, and numbers as JSON beside them. tsne also writes the embeddings
for TensorBoard's projector.
"""

import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from absl import flags

from agkd_tf.data import Examples, load_dataset
from agkd_tf.errors import InputError
from agkd_tf.evaluation import subject_at
from agkd_tf.settings import settings_of
from agkd_tf.visualization import draw_attention, draw_tsne
from agkd_tf.workdir import Workdir
from tools import _app, _flags
from tools._progress import say
from tools._remedies import named_by_flags
from tools._subject import data_of_run

FLAGS = flags.FLAGS
TSNE_FOLDER = "runs/tsne"
SHARED = ("eps", "batch_size", "seed")
ATTENTION = {name: each for name, each in settings_of(draw_attention).items() if name not in SHARED}
TSNE = {name: each for name, each in settings_of(draw_tsne).items() if name not in SHARED}

text = f"Folder to write to; if not given, the run's figures/ for attention, and {TSNE_FOLDER} for tsne."
flags.DEFINE_string("output", None, text)
flags.DEFINE_string("attack", "pgd-20", "Attack that crafts the adversaries.")
flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Split to take images from.")
flags.DEFINE_integer("num_examples", 1000, "Use the first N images of the split.", 1)
_flags.define("this tool", [settings_of(draw_attention)[name] for name in SHARED])
flags.DEFINE_string("workdir", None, "Folder of the run.", module_name="attention")
_flags.define("attention", ATTENTION.values())
text = "Folders of the runs, separated by commas; each gets a column."
flags.DEFINE_list("workdirs", [], text, module_name="tsne")
text = "Titles of the columns, separated by commas; the folders' names if not given."
flags.DEFINE_list("titles", [], text, module_name="tsne")
_flags.define("tsne", TSNE.values())
_flags.define_data()
_flags.define_data_place()
_flags.define_jit_compile()
_flags.define_progress()


def main(argv: list[str]) -> None:
    """Draws the figure that the first word names."""
    {"attention": _attention, "tsne": _tsne}[argv[1]]()


def _attention() -> None:
    if not FLAGS.workdir:
        raise InputError("`workdir`, the run's folder, is needed: --workdir=runs/NAME")
    workdir, subject = Workdir(FLAGS.workdir), subject_at("workdir", FLAGS.workdir)
    examples = _examples([FLAGS.workdir], subject.class_names)
    if not FLAGS.images:
        examples = examples.take(slice(0, FLAGS.num_examples))
    with named_by_flags(model="workdir"):
        drawing = draw_attention(subject, examples, **_settings(ATTENTION))
    pictures = drawing.save(FLAGS.output or workdir.figures, tensorboard=workdir.tensorboard / "figures")
    say(f"Drawn in {' and '.join(map(str, pictures))}")
    say(str(drawing))


def _tsne() -> None:
    if not FLAGS.workdirs:
        raise InputError("`workdirs` is needed: --workdirs=runs/A,runs/B")
    subjects = {title: subject_at("workdirs", path) for title, path in zip(_titles(), FLAGS.workdirs, strict=True)}
    known = next((each.class_names for each in subjects.values() if each.class_names is not None), None)
    examples = _examples(FLAGS.workdirs, known).take(slice(0, FLAGS.num_examples))
    with named_by_flags(x="num_examples", models="workdirs"):
        drawing = draw_tsne(subjects, examples, **_settings(TSNE))
    folder = pathlib.Path(FLAGS.output or TSNE_FOLDER)
    pictures = drawing.save(folder)
    for pair in zip(pictures[::2], pictures[1::2], strict=True):
        say(f"Drawn in {' and '.join(map(str, pair))}")
    say(f"\n{drawing}")
    say(f"\nTo explore the embeddings: tensorboard --logdir={folder / 'tensorboard'}, tab Projector")


def _titles() -> list[str]:
    """Returns the titles of the columns: the given ones, or the names of the runs' folders.

    Raises:
        InputError: if their number is not that of the runs, or two are the same.
    """
    titles = FLAGS.titles or [pathlib.Path(path).name for path in FLAGS.workdirs]
    if len(titles) != len(FLAGS.workdirs):
        raise InputError(
            f"`titles` must be {len(FLAGS.workdirs)} titles, one for each of `workdirs`. Received: {','.join(titles)}"
        )
    if len(set(titles)) < len(titles):
        raise InputError(
            f"`workdirs` must have different folder names, or different `titles`. Received: {','.join(titles)}"
        )
    return titles


def _settings(own: Iterable[str]) -> dict[str, Any]:
    """Returns the arguments for `draw_attention` or `draw_tsne`: those that both share, and its own ones."""
    values = {name: FLAGS[name].value for name in ("attack", "progress", *SHARED, *own)}
    return values | {"jit_compile": _flags.switch("jit_compile")}


def _examples(paths: Sequence[str], class_names: tuple[str, ...] | None) -> Examples:
    """Returns the images that all runs share; their labels are numbered by `class_names`, unless it is None.

    Raises:
        InputError: if the runs have different data, and no flag overrides it.
    """
    first, *others = map(data_of_run, paths)
    for path, data in zip(paths[1:], others, strict=True):
        for name, value in data.items():
            if value != first[name]:
                raise InputError(f"`workdirs`: {path} has --{name}={value}, but {paths[0]} has {first[name]}")
    training = FLAGS.split == "train"
    dataset = load_dataset(**first, **_flags.data_place(), training=training, class_names=class_names)
    examples = dataset.split(FLAGS.split)
    if not len(examples):
        raise InputError(f"`split`: {dataset.name} has no {FLAGS.split} images, only test images: --split=test")
    return examples


if __name__ == "__main__":
    _app.run(main, commands=("attention", "tsne"))
