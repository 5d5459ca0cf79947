"""Draws what networks see and how they arrange it.

  python -m tools.visualize attention --workdir=runs/quickstart/agkd_bml
  python -m tools.visualize tsne --workdirs=runs/quickstart/undefended,runs/quickstart/agkd_bml

attention: a row for each image, of the classes that the attack takes most from or those of --images: clean, adversary,
perturbation, attention maps of teacher and student; and how far the attack moves the student's maps. tsne: a row for
each attacked class, a column for each run, and, for the images that were looked at, how many of an adversary's nearest
clean images are of its true class. Figures are written as PNG and PDF, and into TensorBoard, numbers beside them as
JSON; t-SNE's embeddings into TensorBoard's projector, too.
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

text = f"Folder to write to; if not given: attention: the run's figures/; tsne: {TSNE_FOLDER}."
flags.DEFINE_string("output", None, text)
flags.DEFINE_string("attack", "pgd-20", "Attack behind the adversaries.")
flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Split that images are of.")
flags.DEFINE_integer("num_examples", 1000, "First so many images of the split are looked at.", 1)
_flags.define("this tool", [settings_of(draw_attention)[name] for name in SHARED])
flags.DEFINE_string("workdir", None, "Folder of the run.", module_name="attention")
_flags.define("attention", ATTENTION.values())
text = "Folders of the runs, separated by commas; a column each."
flags.DEFINE_list("workdirs", [], text, module_name="tsne")
text = "Titles of the columns, separated by commas; the folders' names if not given."
flags.DEFINE_list("titles", [], text, module_name="tsne")
_flags.define("tsne", TSNE.values())
_flags.define_data()
_flags.define_data_place()
_flags.define_jit_compile()
_flags.define_progress()


def main(argv: list[str]) -> None:
    """Draws what the first word names."""
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
    say(f"\nTo turn the embeddings: tensorboard --logdir={folder / 'tensorboard'}, Projector")


def _titles() -> list[str]:
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


def _settings(own: Iterable[str]) -> dict[str, Any]:
    """Returns the arguments of `draw_attention` or `draw_tsne`: those that both share, and the own ones of one."""
    values = {name: FLAGS[name].value for name in ("attack", "progress", *SHARED, *own)}
    return values | {"jit_compile": _flags.switch("jit_compile")}


def _examples(paths: Sequence[str], class_names: tuple[str, ...] | None) -> Examples:
    """Returns the images that all runs share; their labels are numbered by `class_names`, unless None.

    Raises:
        InputError: if the runs are not of the same data, and no flag settles it.
    """
    first, *others = map(data_of_run, paths)
    for path, data in zip(paths[1:], others, strict=True):
        for name, value in data.items():
            if value != first[name]:
                raise InputError(f"`workdirs`: {path} is of --{name}={value}, {paths[0]} of {first[name]}")
    training = FLAGS.split == "train"
    dataset = load_dataset(**first, **_flags.data_place(), training=training, class_names=class_names)
    examples = dataset.split(FLAGS.split)
    if not len(examples):
        raise InputError(f"`split`: {dataset.name} has no {FLAGS.split} images, only test images: --split=test")
    return examples


if __name__ == "__main__":
    _app.run(main, commands=("attention", "tsne"))
