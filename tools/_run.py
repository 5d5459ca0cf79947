"""A run's folder and the recipe that is recorded in it."""

from agkd_tf.errors import InputError
from agkd_tf.training import has_begun
from agkd_tf.training.recipe_file import differences, read_recipe, write_recipe


def check_run(recipe, workdir):
    """Checks a folder against the recipe.

    Raises:
        InputError: if the folder holds another run, a longer one, or something else.
    """
    if not has_begun(workdir.checkpoints):
        return  # nothing of other flags could be mixed with this run
    recorded = read_recipe(workdir.flags)
    differing = differences(recorded, recipe)
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
    write_recipe(workdir.flags, recipe, workdir=workdir)
