"""What a run's folder says of its training: checked before the training goes on there, and written when it does."""

import itertools
import json
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
    """Checks that a run that has begun goes on with the recipe that it began with, whose epochs may grow.

    Raises:
        InputError: if it does not, or no recipe is recorded with its checkpoints.
    """
    if not has_begun(workdir.checkpoints):
        return  # nothing of another recipe could be mixed with this run
    recorded = read_recipe(workdir.flags)
    differing = differences(recorded, recipe)
    if differing:
        raise InputError(
            f"{workdir.path} holds a run of other settings; choose another `workdir` or the recorded settings. "
            f"{'; '.join(differing)}"
        )
    if recipe.epochs < recorded.epochs:
        raise InputError(
            f"{workdir.path} holds a run of {recorded.epochs} epochs, which may grow but not shrink. "
            f"Received: `epochs={recipe.epochs}`"
        )
    if recipe.epochs > recorded.epochs and recipe.schedule != "step":
        raise InputError(
            f"{workdir.path} holds a run whose `schedule={recipe.schedule!r}` is of {recorded.epochs} epochs, which "
            f"cannot grow: choose another `workdir`. Received: `epochs={recipe.epochs}`"
        )


def record_recipe(workdir: Workdir, recipe: Recipe) -> None:
    """Writes the recipe of a run into its folder."""
    write_recipe(workdir.flags, recipe, workdir=workdir)


def check_class_names(workdir: Workdir, dataset: ImageDataset) -> None:
    """Checks that a run that has begun goes on with the classes that it began with; an earlier version's has no names.

    Raises:
        InputError: if it does not.
    """
    if not has_begun(workdir.checkpoints) or not workdir.class_names.exists():
        return
    recorded = read_json(workdir.class_names, list)
    if not same_names(recorded, dataset.class_names):
        pairs = enumerate(itertools.zip_longest(recorded, dataset.class_names))
        place, (then, now) = next((place, pair) for place, pair in pairs if pair[0] != pair[1])
        raise InputError(
            f"{workdir.path} holds a run of other classes than the data has: class {place} was {then!r} and is {now!r} "
            "now; bring back the classes and their names, or choose another `workdir`"
        )


def check_checkpoints_left(workdir: Workdir) -> None:
    """Checks that a folder without a checkpoint is not that of a training which had some.

    Raises:
        InputError: if it is.
    """
    # A first epoch that was killed at its end leaves a line of history, and then a student, before its checkpoint.
    lines = _epochs_of(workdir.history)
    if not has_begun(workdir.checkpoints) and (lines > 1 or (not lines and workdir.student.exists())):
        raise InputError(
            f"{workdir.history if lines else workdir.student} is of a training of which no checkpoint is left: put "
            "one back, or choose another `workdir`"
        )


def record_sitting(
    workdir: Workdir, dataset: ImageDataset, *, first_epoch: int, machine: Mapping[str, Any] | None = None
) -> None:
    """Writes down the machine and the versions that train from `first_epoch`, counted from 1, and the classes.

    Args:
        workdir: the run's folder.
        dataset: its data set.
        first_epoch: of the sitting.
        machine: as `describe_environment`, of another machine; None for this one.
    """
    sittings = read_json(workdir.environment, list) if workdir.environment.exists() else []
    sittings.append({"first_epoch": first_epoch, **(describe_environment() if machine is None else machine)})
    write_text(workdir.environment, json.dumps(sittings, indent=2) + "\n")
    write_text(workdir.class_names, json.dumps(dataset.class_names) + "\n")


def _epochs_of(history: pathlib.Path) -> int:
    """Returns how many epochs a history has lines of."""
    if not history.exists():
        return 0
    _, *lines = history.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    return len({line.partition(",")[0] for line in lines})
