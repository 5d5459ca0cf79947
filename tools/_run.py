"""A run's folder and the recipe that is recorded in it."""

from agkd_tf.errors import InputError
from agkd_tf.training import has_begun
from tools import _flags


def check_run(recipe, workdir):
    """Checks a folder against the recipe.

    Raises:
        InputError: if the folder holds another run, a longer one, or something else.
    """
    if not has_begun(workdir.checkpoints):
        return  # nothing of other flags could be mixed with this run
    recorded = _flags.read_flagfile(workdir.flags)
    differing = _flags.differing_flags(recorded, recipe)
    if differing:
        raise InputError(
            f"{workdir.path} holds a run of other flags; use another --workdir or the recorded flags. "
            f"{'; '.join(differing)}"
        )
    if recipe.epochs < recorded.epochs:
        raise InputError(
            f"{workdir.path} holds a run of {recorded.epochs} epochs, which may grow but not shrink. "
            f"Received: --epochs={recipe.epochs}"
        )


def record_run(recipe, workdir):
    """Writes the recipe into the run's folder."""
    _flags.write_flagfile(workdir.flags, recipe, extra=[f"--workdir={workdir.path}"])
