"""Trains a network in a folder; the same command resumes it.

  python -m tools.train --flagfile=flags/digits/agkd_bml.flags --workdir=runs/digits/agkd_bml
  tensorboard --logdir=runs

A flag after --flagfile overrides the file's. A finished run goes on if --epochs grows.
"""

import pathlib
import shlex
import sys

import tensorflow as tf
from absl import flags

from agkd_tf.distribution import LostWorkerError, is_chief, make_strategy, num_replicas
from agkd_tf.errors import InputError
from agkd_tf.perturbation_size import format_size
from agkd_tf.processor import onednn_is_on
from agkd_tf.settings import settings_of
from agkd_tf.training import (
    InterruptedTrainingError,
    NonFiniteLossError,
    TrainingListener,
    TrainingOptions,
    TrainingRun,
    plan_training,
)
from agkd_tf.training.recipe_file import recipe_lines
from agkd_tf.workdir import Workdir
from tools import _app, _flags
from tools._progress import progress
from tools._remedies import with_flags

FLAGS = flags.FLAGS
OPTIONS = ("panel_every", "keep_checkpoints", "checkpoint_every_minutes")

flags.DEFINE_string("workdir", None, "Folder of the run.")
_flags.define_data()
_flags.define_data_place()
_flags.define_recipe()
_flags.define_jit_compile()
_flags.define_resident()
_flags.define_distribution()
_flags.define("run", [settings_of(TrainingOptions)[name] for name in OPTIONS])
flags.DEFINE_bool("deterministic", False, "Use only operations that give the same bits each time; slower on a GPU.")
_flags.define_progress()
flags.DEFINE_bool("hints", True, "Print the next commands at the end.")
flags.DEFINE_bool("dry_run", False, "Print the recipe, its size and its cost, and train nothing.")


def main(argv: list[str]) -> None:
    """Trains the recipe of the flags."""
    del argv
    if FLAGS.deterministic:
        tf.config.experimental.enable_op_determinism()
    recipe = _flags.recipe_from_flags()
    recipe.check_teacher()  # before any data is read
    if not FLAGS.dry_run:
        if not FLAGS.workdir:
            raise InputError("`workdir`, the run's folder, is needed: --workdir=runs/NAME")
        _check_teacher_is_trained(recipe.teacher)
    options = TrainingOptions(
        jit_compile=_flags.switch("jit_compile"),
        resident=_flags.switch("resident"),
        progress=FLAGS.progress,
        **{name: getattr(FLAGS, name) for name in OPTIONS},
    )
    workdir = Workdir(FLAGS.workdir or "")
    workdir.check()
    # Before anything else, as several workers want it.
    strategy = make_strategy("none" if FLAGS.dry_run else FLAGS.distribution)
    dataset = recipe.load_dataset(**_flags.data_place())
    if FLAGS.dry_run:
        plan = plan_training(recipe, dataset, jit_compile=options.jit_compile, resident=options.resident)
        print("Recipe:")
        for line in recipe_lines(recipe).values():
            print(f"  {line}")
        print(plan)
        return
    try:
        with strategy.scope():
            TrainingRun(recipe, workdir, dataset, options=options, listener=Listener()).run()
            if not is_chief():
                return
    except (NonFiniteLossError, LostWorkerError) as error:
        print(f"error: {with_flags(str(error))}", file=sys.stderr)
        sys.exit(1)
    except InterruptedTrainingError as error:
        command = shlex.join(sys.argv[1:])
        print(f"{error}; to continue: python -m tools.train {command}", file=sys.stderr)
        sys.exit(_app.INTERRUPTED)
    if FLAGS.hints and not progress().is_off:
        print(f"\nTrained: {workdir.path}. Next:")
        for tool in ("evaluate", "export"):
            print(f"  python -m tools.{tool} --workdir={shlex.quote(str(workdir.path))}")


def _check_teacher_is_trained(teacher: str | None) -> None:
    """Says how to train a teacher that another recipe makes, runs/NAME by flags/NAME.flags, while there is none."""
    flagfile = pathlib.Path("flags", *pathlib.Path(f"{teacher}.flags").parts[-2:])
    if teacher and not pathlib.Path(teacher).exists() and flagfile.is_file():
        raise InputError(
            f"`teacher`: there is no run in {teacher} yet; train it first: "
            f"python -m tools.train --flagfile={flagfile} --workdir={shlex.quote(teacher)}"
        )


class Listener(TrainingListener):
    """Says what is trained, from where, and how it is compiled."""

    def begins(self, run: TrainingRun) -> None:
        if progress().is_off:
            return
        recipe, finished, begun = run.recipe, run.finished_epochs, run.begun_steps
        begin = "trained for"
        if finished or begun:
            begin = f"continued after {f'step {begun} of ' if begun else ''}epoch {finished + bool(begun)} of"
        ball = run.defense.ball
        norm = "" if ball.norm == "linf" else f"{ball.norm} eps {format_size(ball.eps)}, "
        epochs = f"{recipe.epochs} epoch{'s' * (recipe.epochs > 1)}"
        print(
            f"\n{recipe.defense} ({recipe.model}, {recipe.dataset}), {begin} {epochs} in "
            f"{run.workdir.path}; XLA {_switch(run.defense.use_xla)}, oneDNN {_switch(onednn_is_on())}, "
            f"{norm}{recipe.mixed_precision}" + (f", {num_replicas()} replicas" if num_replicas() > 1 else ""),
            flush=True,
        )


def _switch(is_on: bool) -> str:
    return "on" if is_on else "off"


if __name__ == "__main__":
    _app.run(main)
