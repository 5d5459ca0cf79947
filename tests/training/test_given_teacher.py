"""Runs that learn from a robust teacher: a run, or a file, of the same network or of another."""

import dataclasses

import keras
import numpy as np
import pytest

from agkd_tf import InputError
from agkd_tf.models.storage import load_classifier
from agkd_tf.training import Recipe, plan_training, read_recipe
from agkd_tf.visualization import draw_attention
from agkd_tf.workdir import Workdir
from tests.processes import run_tool
from tests.trainings import tiny_recipe, train

ATTACK = {"eps": 0.15, "attack_steps": 1}
ROBUST = tiny_recipe("at", hyperparameters=ATTACK)
NAMES = ("ard", "rslad", "adaad", "igdm")


def taught(defense, teacher, **fields):
    return tiny_recipe(defense, hyperparameters=ATTACK, teacher=str(teacher), **fields)


@pytest.fixture(scope="module")
def data():
    return ROBUST.load_dataset()


@pytest.fixture(scope="module")
def robust(data, tmp_path_factory):
    """The folder of a run of adversarial training."""
    folder = Workdir(tmp_path_factory.mktemp("robust"))
    train(ROBUST, folder, data)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_without_a_teacher_nothing_is_trained_and_the_remedy_is_said(name, data, tmp_path):
    recipe = tiny_recipe(name)
    message = rf"`defense='{name}'` distills a robust teacher.*: give `teacher=PATH`, its run's folder or .keras file"
    with pytest.raises(InputError, match=message):
        train(recipe, tmp_path / "run", data)
    with pytest.raises(InputError, match=message):
        plan_training(recipe, data)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_command_line_says_which_flag(start, small, tmp_path):
    run = start(run_tool, "train", *small, "--defense=igdm", f"--workdir={tmp_path}/run")
    assert run.wait(100) == 2
    assert "--defense=igdm distills a robust teacher" in run.stderr
    assert "give --teacher=PATH, its run's folder or .keras file" in run.stderr


@pytest.mark.parametrize("name", ["teacher_label_smoothing", "teacher_epochs", "teacher_decay_epochs"])
def test_settings_of_a_teacher_that_is_trained_first_have_no_effect(name):
    value = {"teacher_label_smoothing": 0.1, "teacher_epochs": 3, "teacher_decay_epochs": (1,)}[name]
    with pytest.raises(InputError, match=f"`{name}` has no effect with `defense='ard'`, whose teacher is not trained"):
        Recipe(defense="ard", teacher="runs/x", **{name: value})


def test_a_run_learns_from_a_run_and_records_its_kind(data, robust, tmp_path):
    recipe, run = taught("igdm", robust.path), Workdir(tmp_path / "run")
    before = load_classifier("teacher", robust.path).get_weights()
    defense = train(recipe, run, data)
    assert int(defense.step.numpy()) == defense.num_steps == 4
    for old, new in zip(before, defense.teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    lines = run.flags.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == [f"--workdir={run.path}", "# The teacher was trained by --defense=at --model=tiny"]
    assert read_recipe(run.path) == recipe
    assert not run.teacher.path.exists()
    # Its ramp is planned for the training's length.
    with pytest.raises(InputError, match="whose `defense='igdm'` is planned for 1 epochs"):
        train(dataclasses.replace(recipe, epochs=2), run, data)


def test_a_teacher_may_be_a_file_of_another_network_without_maps(data, tmp_path):
    images = keras.Input((16, 16, 1))
    head = keras.layers.Dense(10)(keras.layers.Dense(8, activation="relu")(keras.layers.Flatten()(images)))
    keras.Model(images, head).save(tmp_path / "teacher.keras")
    recipe, run = taught("rslad", tmp_path / "teacher.keras"), Workdir(tmp_path / "run")
    defense = train(recipe, run, data, panel_every=1)  # whose panel shows the student's maps alone
    assert not defense.guide.shows_features
    assert "# " not in run.flags.read_text(encoding="utf-8")  # nobody knows what trained a file
    drawn = draw_attention(run.path, data.test.take(np.arange(4)), eps=0.15, images=(0, 1), progress="off")
    assert set(drawn.distances) == {"student, clean"}
    plan = plan_training(recipe, data)
    without = plan_training(ROBUST, data)
    assert plan.state_bytes - without.state_bytes == 4 * defense.teacher.count_params()


@pytest.mark.parametrize("name", ["agkd", "bml"])
def test_agkd_and_bml_take_a_robust_teacher_too(name, data, robust, tmp_path):
    """The paper's teachers are clean; the student starts from the given one all the same."""
    recipe, run = taught(name, robust.path, learning_rate=1e-9, weight_decay=0.0), Workdir(tmp_path / "run")
    assert recipe.init_from_teacher
    train(recipe, run, data)
    given, learned = (load_classifier("run", folder.path).trainable_weights for folder in (robust, run))
    for old, new in zip(given, learned, strict=True):
        np.testing.assert_allclose(old, new, atol=1e-6)
    assert "# The teacher was trained by --defense=at --model=tiny" in run.flags.read_text(encoding="utf-8")
