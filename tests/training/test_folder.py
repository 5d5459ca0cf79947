"""What may be trained in a folder that holds a run."""

import dataclasses

import pytest
import tensorflow as tf

from agkd_tf.errors import InputError
from agkd_tf.training import Recipe
from agkd_tf.training.folder import check_recipe, record_recipe
from agkd_tf.workdir import Workdir

RECIPE = Recipe(defense="at", epochs=5)


@pytest.fixture
def begun(tmp_path):
    """Folder of a run that has finished an epoch."""
    workdir = Workdir(tmp_path / "run")
    record_recipe(workdir, RECIPE)
    tf.train.Checkpoint(epoch=tf.Variable(1)).save(str(workdir.checkpoints / "ckpt"))
    return workdir


def test_the_same_run_and_a_longer_one_go_on(begun):
    check_recipe(begun, RECIPE)
    check_recipe(begun, dataclasses.replace(RECIPE, epochs=6))


@pytest.mark.parametrize("lost", [False, True])
def test_other_settings_are_refused_by_name(begun, lost):
    if lost:  # where its checkpoints are to be put back, the run stays what it is
        for part in begun.checkpoints.glob("ckpt-*"):
            part.unlink()
    with pytest.raises(InputError, match=r"other settings: .*`seed`: recorded 0, received 3"):
        check_recipe(begun, dataclasses.replace(RECIPE, seed=3))


def test_a_run_does_not_shrink(begun):
    with pytest.raises(InputError, match=r"5 epochs; their number may grow but not shrink. Received: `epochs=4`"):
        check_recipe(begun, dataclasses.replace(RECIPE, epochs=4))


def test_before_the_first_epoch_settings_may_still_change(tmp_path):
    workdir = Workdir(tmp_path / "run")
    check_recipe(workdir, RECIPE)
    record_recipe(workdir, RECIPE)
    check_recipe(workdir, dataclasses.replace(RECIPE, seed=3, epochs=2))


def test_checkpoints_without_a_recipe_are_nobodys_run(begun):
    begun.flags.unlink()
    with pytest.raises(InputError, match="it is not a run's folder"):
        check_recipe(begun, RECIPE)
