"""Records of a training in its run's folder, which are checked before it continues there, and written when it does."""

import contextlib
import csv
import itertools
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from agkd_tf.data import ImageDataset
from agkd_tf.data.class_names import same_names
from agkd_tf.environment import describe_environment
from agkd_tf.errors import InputError
from agkd_tf.files import read_json, write_text
from agkd_tf.training.checkpoints import has_begun
from agkd_tf.training.recipe import Recipe
from agkd_tf.training.recipe_file import differences, read_recipe, write_recipe
from agkd_tf.workdir import Workdir


def check_recipe(workdir: Workdir, recipe: Recipe) -> None:
    """Checks that a run continues with the recipe that it began with, except that `epochs` may grow.

    Raises:
        InputError: if the recipe differs, or none is recorded with the run's checkpoints.
    """
    if not has_begun(workdir.checkpoints):
        return  # there is nothing from another recipe that could be mixed with this run
    recorded = read_recipe(workdir.flags)
    differing = differences(recorded, recipe)
    if differing:
        raise InputError(
            f"{workdir.path} holds a run with other settings: choose another `workdir`, or the recorded settings. "
            f"{'; '.join(differing)}"
        )
    if recipe.epochs < recorded.epochs:
        raise InputError(
            f"{workdir.path} holds a run of {recorded.epochs} epochs; their number may grow but not shrink. "
            f"Received: `epochs={recipe.epochs}`"
        )
    if recipe.epochs > recorded.epochs and recipe.planned_for:
        raise InputError(
            f"{workdir.path} holds a run whose `{recipe.planned_for}` is planned for {recorded.epochs} epochs, "
            f"so that it cannot be extended: choose another `workdir`. Received: `epochs={recipe.epochs}`"
        )


def record_recipe(workdir: Workdir, recipe: Recipe) -> None:
    """Writes the recipe of a run into its folder, and in a comment what trained the teacher that it is given."""
    write_recipe(workdir.flags, recipe, workdir=workdir, comment=_kind_of_teacher(recipe))


def _kind_of_teacher(recipe: Recipe) -> str | None:
    """Returns which defense trained the run that is a recipe's teacher; None for another file, or no given teacher."""
    if not recipe.teacher or not Workdir(recipe.teacher).flags.is_file():
        return None
    try:
        trained = read_recipe(recipe.teacher)
    except InputError:  # the network is what is needed, and it may be of another version
        return None
    return f"The teacher was trained by --defense={trained.defense} --model={trained.model}"


def check_class_names(workdir: Workdir, dataset: ImageDataset) -> None:
    """Checks that a run continues with the classes that it began with; earlier versions did not record their names.

    Raises:
        InputError: if the classes differ.
    """
    if not has_begun(workdir.checkpoints) or not workdir.class_names.exists():
        return
    recorded = read_json(workdir.class_names, list)
    if not same_names(recorded, dataset.class_names):
        pairs = enumerate(itertools.zip_longest(recorded, dataset.class_names))
        place, (then, now) = next((place, pair) for place, pair in pairs if pair[0] != pair[1])
        raise InputError(
            f"{workdir.path} holds a run with other classes than the data: class {place} was {then!r} and is {now!r} "
            "now; bring back the original classes and names, or choose another `workdir`"
        )


def check_checkpoints_left(workdir: Workdir) -> None:
    """Checks that a folder without checkpoints does not belong to a training that had some.

    Raises:
        InputError: if it does.
    """
    # A first epoch that is killed at its end leaves a line of history, and then a student, before its checkpoint.
    lines = _epochs_of(workdir.history)
    if not has_begun(workdir.checkpoints) and (lines > 1 or (not lines and workdir.student.exists())):
        raise InputError(
            f"{workdir.history if lines else workdir.student} is of a training that has no checkpoint left: put one "
            "back, or choose another `workdir`"
        )


def record_session(
    workdir: Workdir, dataset: ImageDataset, *, first_epoch: int, machine: Mapping[str, Any] | None = None
) -> None:
    """Records the machine and the software versions that train from `first_epoch` on, and the classes.

    Args:
        workdir: the run's folder.
        dataset: its data set.
        first_epoch: number of the session's first epoch, counted from 1.
        machine: what `describe_environment` returned on another machine; None for this machine.
    """
    sessions = read_json(workdir.environment, list) if workdir.environment.exists() else []
    sessions.append({"first_epoch": first_epoch, **(describe_environment() if machine is None else machine)})
    write_text(workdir.environment, json.dumps(sessions, indent=2) + "\n")
    write_text(workdir.class_names, json.dumps(dataset.class_names) + "\n")


def logged_epochs(workdir: Workdir) -> dict[int, dict[str, float]]:
    """Returns number of each epoch, from 0 -> name -> value, as the folder's history has them; {} without a history.

    Of an epoch that was repeated after a crash, the last line counts. What is not a number is left out.
    """
    if not workdir.history.exists():
        return {}
    with workdir.history.open(encoding="utf-8", errors="replace", newline="") as file:
        return {
            int(epoch): logs
            for logs in map(_numbers, csv.DictReader(file))
            if (epoch := logs.pop("epoch", None)) is not None and math.isfinite(epoch)
        }


def _numbers(row: Mapping[str | None, Any]) -> dict[str, float]:
    found = {}
    for name, text in row.items():
        if name is not None:  # under None, a damaged line has its surplus
            with contextlib.suppress(TypeError, ValueError):
                found[name] = float(text)
    return found


def _epochs_of(history: pathlib.Path) -> int:
    """Returns the number of epochs that a history has lines for."""
    if not history.exists():
        return 0
    _, *lines = history.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    return len({line.partition(",")[0] for line in lines})
