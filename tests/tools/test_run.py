"""What may be trained in a folder that holds a run."""

import dataclasses

import pytest
import tensorflow as tf

from agkd_tf.errors import InputError
from agkd_tf.training import Recipe
from agkd_tf.workdir import Workdir
from tools._run import check_run, record_run

RECIPE = Recipe(defense="at", epochs=5)


@pytest.fixture
def begun(tmp_path):
    """Folder of a run that has finished an epoch."""
    workdir = Workdir(tmp_path / "run")
    record_run(RECIPE, workdir)
    tf.train.Checkpoint(epoch=tf.Variable(1)).save(str(workdir.checkpoints / "ckpt"))
    return workdir


def test_the_same_run_and_a_longer_one_go_on(begun):
    check_run(RECIPE, begun)
    check_run(dataclasses.replace(RECIPE, epochs=6), begun)


@pytest.mark.parametrize("lost", [False, True])
def test_other_flags_are_refused_by_name(begun, lost):
    if lost:  # where its checkpoints are to be put back, the run stays what it is
        for part in begun.checkpoints.glob("ckpt-*"):
            part.unlink()
    with pytest.raises(InputError, match=r"other flags.*--seed: recorded 0, received 3"):
        check_run(dataclasses.replace(RECIPE, seed=3), begun)


def test_a_run_does_not_shrink(begun):
    with pytest.raises(InputError, match=r"5 epochs, which may grow but not shrink. Received: --epochs=4"):
        check_run(dataclasses.replace(RECIPE, epochs=4), begun)


def test_before_the_first_epoch_flags_may_still_change(tmp_path):
    workdir = Workdir(tmp_path / "run")
    check_run(RECIPE, workdir)
    record_run(RECIPE, workdir)
    check_run(dataclasses.replace(RECIPE, seed=3, epochs=2), workdir)


def test_checkpoints_without_flags_are_nobodys_run(begun):
    begun.flags.unlink()
    with pytest.raises(InputError, match="it is not a run's folder"):
        check_run(RECIPE, begun)
