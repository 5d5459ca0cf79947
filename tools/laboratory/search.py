r"""Trains variants of a recipe and compares them on the validation split; nothing is evaluated on the test split.

  python -m tools.laboratory.search flags/digits/at_paper.flags \
    tools/laboratory/searches/digits_at.txt --output=runs/search/at

A line of the file is a trial: the flags in which it differs from the recipe, none for the recipe itself (`.`). A line
that begins with `all:` has flags of all trials. Each trial is trained once per seed. All figures are means over the
seeds; trials are sorted by the share of images that no attack breaks. A trial whose loss becomes NaN or infinite has
the accuracies 0. Teachers of the same settings are trained once. The same command resumes, also after trials or seeds
were added.
"""

import csv
import dataclasses
import gc
import hashlib
import io
import pathlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
from absl import flags

import agkd_tf
from agkd_tf.attacks import attack_named
from agkd_tf.data import ImageDataset
from agkd_tf.errors import InputError
from agkd_tf.files import write_text
from agkd_tf.text_table import aligned
from agkd_tf.training import (
    InterruptedTrainingError,
    NonFiniteLossError,
    Recipe,
    TrainingOptions,
    TrainingRun,
)
from agkd_tf.training.recipe_file import read_recipe, recipe_lines
from tools import _app, _flags

FLAGS = flags.FLAGS
ITSELF = "."

flags.DEFINE_string("output", None, "Folder of the trials' runs, of trials.csv and trials.md.")
flags.DEFINE_list("seeds", ["0", "1"], "Seeds that each trial is trained with.")
flags.DEFINE_list("attacks", ["clean", "pgd-20", "cw-20"], "Attacks on the validation split.")
_flags.define_data_place()


class Trial(NamedTuple):
    """Flags that differ from the recipe, and accuracies [seeds, attacks and worst case] in [0, 1]."""

    flags: str
    accuracies: np.ndarray


def main(argv: list[str]) -> None:
    """Runs the search and prints its table."""
    if len(argv) != 3 or not FLAGS.output:
        raise InputError("a recipe, a file of trials and a folder are needed: RECIPE TRIALS --output=FOLDER")
    if not FLAGS.seeds or not all(seed.isdecimal() for seed in FLAGS.seeds) or len({*FLAGS.seeds}) < len(FLAGS.seeds):
        raise InputError(f"`seeds` must be whole numbers from 0 on, each once. Received: {','.join(FLAGS.seeds)!r}")
    if not FLAGS.attacks:
        raise InputError("`attacks` must be names of attacks, such as clean,pgd-20. Received: none")
    for name in FLAGS.attacks:  # a mistake shows before the first training
        attack_named(name)
    folder = pathlib.Path(FLAGS.output)
    trials = read_trials(pathlib.Path(argv[2]))
    seeds = [f"--seed={seed}" for seed in FLAGS.seeds]
    recipes = {name: [read_recipe(argv[1], [*own, seed]) for seed in seeds] for name, own in trials.items()}
    for variants in recipes.values():
        variants[0].check_teacher()
    done: list[Trial] = []
    for name, variants in recipes.items():
        try:
            done.append(Trial(name, np.array([_accuracies(recipe, folder) for recipe in variants])))
        except InterruptedTrainingError as error:
            print(f"{error}; the same command resumes", file=sys.stderr)
            sys.exit(_app.INTERRUPTED)
        print(f"{len(done)} of {len(recipes)}: {name}: {' '.join(_cells(done[-1]))}", flush=True)
    table = trials_table(done, [*FLAGS.attacks, "worst case"])
    write_text(folder / "trials.csv", _csv(table))
    write_text(folder / "trials.md", "\n".join(_markdown(table)) + "\n")
    print(f"\n{aligned(table)}\nRecorded in {folder / 'trials.md'}")


def read_trials(path: pathlib.Path) -> dict[str, list[str]]:
    """Returns the trials of a file: what each is called -> its flags.

    Raises:
        InputError: if there is no such file, it is empty, or has a trial twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the file of trials cannot be read: {error}") from error
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    shared = [flag for line in lines if line.startswith("all:") for flag in line.removeprefix("all:").split()]
    names = [line for line in lines if not line.startswith("all:")]
    if not names or len(set(names)) < len(names):
        raise InputError(f"{path} must have trials, each once")
    return {name: [*shared, *(name.split() if name != ITSELF else [])] for name in names}


def _accuracies(recipe: Recipe, folder: pathlib.Path) -> list[float]:
    """Returns the accuracies of a recipe on the validation split, trained and evaluated if it was not."""
    dataset = recipe.load_dataset(**_flags.data_place())
    if recipe.trains_teacher:
        teacher = recipe.for_teacher()
        _train(teacher, dataset, folder / "teachers" / _digest(teacher))
        recipe = dataclasses.replace(recipe, teacher=str(folder / "teachers" / _digest(teacher)))
    run = folder / "runs" / _digest(recipe)
    try:
        _train(recipe, dataset, run)
    except NonFiniteLossError as error:
        print(f"note: {run}: {error}", file=sys.stderr)
        return [0.0] * (len(FLAGS.attacks) + 1)
    eps, norm = recipe.hyperparameters["eps"], recipe.hyperparameters["norm"]
    options = {"eps": eps, "norm": norm, "folder": run, "progress": "off"}
    found = agkd_tf.evaluate(str(run), dataset.validation, attacks=FLAGS.attacks, **options)
    correct = np.array([found[name].correct for name in FLAGS.attacks])  # the record may have other attacks, too
    return [*correct.mean(1), correct.all(0).mean()]


def _train(recipe: Recipe, dataset: ImageDataset, workdir: pathlib.Path) -> None:
    TrainingRun(recipe, workdir, dataset, options=TrainingOptions(progress="off", panel_every=0)).run()
    keras.backend.clear_session()
    gc.collect()


def _digest(recipe: Recipe) -> str:
    return hashlib.sha256("\n".join(recipe_lines(recipe).values()).encode()).hexdigest()[:16]


def trials_table(trials: Sequence[Trial], columns: Sequence[str]) -> list[list[str]]:
    """Returns rows of text, with a heading, the best by the mean of the last column first.

    A cell is the mean over the seeds in %, and their standard deviation where there are several.
    """
    best = sorted(trials, key=lambda trial: -trial.accuracies[:, -1].mean())
    return [["trial", *columns], *([trial.flags, *_cells(trial)] for trial in best)]


def _cells(trial: Trial) -> list[str]:
    means, spread = 100 * trial.accuracies.mean(0), None
    if len(trial.accuracies) > 1:
        spread = 100 * trial.accuracies.std(0, ddof=1)
    return [f"{mean:.1f}" + ("" if spread is None else f" ± {spread[i]:.1f}") for i, mean in enumerate(means)]


def _csv(table: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table)
    return text.getvalue()


def _markdown(table: Sequence[Sequence[str]]) -> list[str]:
    heading, *rows = ([f"`{first}`" if i else first, *rest] for i, (first, *rest) in enumerate(table))
    return [f"| {' | '.join(row)} |" for row in (heading, ["---"] * len(heading), *rows)]


if __name__ == "__main__":
    _app.run(main, words=True)
