"""A training from Python alone: in one call, continued, and step by step."""

import dataclasses

import numpy as np
import pytest

from agkd_tf import InputError
from agkd_tf.models.storage import load_classifier
from agkd_tf.training import TrainingListener, TrainingOptions, TrainingRun, read_recipe, write_recipe
from tests.trainings import tiny_recipe

RECIPE = tiny_recipe("agkd_bml", hyperparameters={"attack_steps": 1})
SILENT = TrainingOptions(progress="off", panel_every=0)


class Told(TrainingListener):
    def __init__(self):
        self.begun = []

    def begins(self, run):
        self.begun.append((run.recipe, run.workdir.path, run.finished_epochs, run.begun_steps))


def test_a_run_trains_and_goes_on_without_a_flag(tmp_path):
    listener = Told()
    defense = TrainingRun(RECIPE, tmp_path / "run", options=SILENT, listener=listener).run()
    assert (type(defense).__name__, int(defense.step.numpy())) == ("AGKDBML", 4)
    saved = load_classifier("workdir", tmp_path / "run")
    for found, expected in zip(saved.get_weights(), defense.student.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    longer = dataclasses.replace(RECIPE, epochs=2)
    continued = TrainingRun(longer, str(tmp_path / "run"), options=SILENT, listener=listener).run()
    assert int(continued.step.numpy()) == 8
    folder, teacher = tmp_path / "run", RECIPE.for_teacher()
    assert listener.begun == [(teacher, folder / "teacher", 0, 0), (RECIPE, folder, 0, 0), (longer, folder, 1, 0)]


def test_a_run_does_not_go_on_with_another_recipe(tmp_path):
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "checkpoint").write_text('model_checkpoint_path: "ckpt-4"\n')
    write_recipe(folder / "flags.txt", RECIPE)
    other = dataclasses.replace(RECIPE, batch_size=32, seed=3)
    with pytest.raises(
        InputError, match=r"run holds a run with other settings: .*`batch_size`: recorded 16, received 32"
    ):
        TrainingRun(other, folder, options=SILENT).run()
    assert read_recipe(folder) == RECIPE


def test_a_runs_steps_can_be_taken_one_by_one_in_their_order(tmp_path):
    settings = {"validation_attack_steps": 0}
    recipe = dataclasses.replace(RECIPE, defense="undefended", init_from_teacher=None, hyperparameters=settings)
    run = TrainingRun(recipe, tmp_path / "run", recipe.load_dataset(), options=SILENT)
    for step, missing in ((run.build, "prepare_teacher"), (run.restore, "build"), (run.fit, "restore")):
        with pytest.raises(InputError, match=rf"call `{missing}\(\)` or `run\(\)` first"):
            step()
    assert not (tmp_path / "run").exists()
    assert run.prepare_teacher() is None
    begun = run.build().student.get_weights()
    run.restore()
    assert (run.finished_epochs, run.begun_steps) == (0, 0)
    run.fit()
    assert (run.finished_epochs, run.begun_steps) == (1, 0)
    assert run.finish() is run.defense
    assert read_recipe(tmp_path / "run") == recipe
    assert any(np.any(old != new) for old, new in zip(begun, run.defense.student.get_weights(), strict=True))


def test_a_run_is_of_the_data_set_that_its_recipe_names(tmp_path):
    data = dataclasses.replace(RECIPE.load_dataset(), name="mine")
    with pytest.raises(InputError, match=r"`dataset='digits'`, the images are of 'mine': use .* `dataset='mine'`"):
        TrainingRun(RECIPE, tmp_path / "run", data, options=SILENT).run()
    assert not (tmp_path / "run").exists()
    undefended = {"defense": "undefended", "init_from_teacher": None, "hyperparameters": {}}
    assert dataclasses.replace(RECIPE, dataset="mine", **undefended).build_defense(data)


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match=r"`workdir` must be a folder. Received: '.*run', a file"):
        TrainingRun(RECIPE, tmp_path / "run")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"jit_compile": "on"}, "`jit_compile` must be one of auto, True, False. Received: 'on'"),
        ({"resident": None}, "`resident` must be one of auto, True, False. Received: None"),
        ({"keep_checkpoints": 0}, "`keep_checkpoints` must be in [1, inf]. Received: 0"),
        ({"checkpoint_every_minutes": -1.0}, "`checkpoint_every_minutes` must be in [0.0, inf]. Received: -1.0"),
        (
            {"checkpoint_every_minutes": float("inf")},
            "`checkpoint_every_minutes` must be a finite number. Received: inf",
        ),
        ({"panel_every": 2.5}, "`panel_every` must be an integer. Received: 2.5"),
        ({"progress": 3}, "`progress` must be one of auto, bar, lines, off. Received: 3"),
    ],
)
def test_options_that_are_not_allowed_are_refused(given, message):
    with pytest.raises(InputError) as refused:
        TrainingOptions(**given)
    assert str(refused.value) == message
