"""Catastrophic overfitting is seen, said in one line, and ends a training if asked."""

import types
import warnings

import numpy as np
import pytest

from agkd_tf.errors import InputError, Note
from agkd_tf.models.storage import load_classifier
from agkd_tf.training import Recipe, TrainingListener
from agkd_tf.training.folder import logged_epochs
from agkd_tf.training.overfitting import WatchOverfitting
from agkd_tf.workdir import Workdir
from tests.trainings import tiny_recipe, train

# (accuracy under PGD, training accuracy) of each epoch.
COLLAPSE = [(0.30, 0.30), (0.40, 0.40), (0.25, 0.38), (0.42, 0.45), (0.02, 0.88), (0.01, 0.95)]


def logs_of(robust, trained):
    return {"val_robust_accuracy": robust, "train_accuracy": trained}


def watched(action, *, drop=0.2, epochs=COLLAPSE, history=None):
    """Returns (the watch after it was shown epochs until it stopped them, what it told, how many it was shown)."""
    told = []
    watch = WatchOverfitting(drop=drop, action=action, attack="PGD-10", tell=told.append, history=history or {})
    watch.set_model(types.SimpleNamespace(stop_training=False))
    shown = 0
    for epoch, each in enumerate(epochs, start=len(history or {})):
        watch.on_epoch_end(epoch, logs_of(*each))
        shown += 1
        if watch.model.stop_training:
            break
    return watch, told, shown


@pytest.mark.parametrize(("action", "shown"), [("warn", 6), ("stop", 5), ("restore", 5)])
def test_a_fall_within_one_epoch_is_said_in_a_line_and_ends_the_training_if_asked(action, shown):
    watch, told, seen = watched(action)
    assert (len(told), seen, watch.epoch) == (1, shown, 5)
    assert told[0].startswith("epoch 5: validation accuracy under PGD-10 fell from 42.00 % to 2.00 %")
    assert "own adversaries rose (45.00 % to 88.00 %)" in told[0]
    assert "\n" not in told[0]
    assert watch.ends == (action != "warn")
    assert watch.may_choose == (action != "restore")


def test_a_smaller_fall_or_one_over_several_epochs_is_none():
    slow = [(0.5, 0.5), (0.31, 0.5), (0.12, 0.5), (0.0, 0.5)]
    assert watched("stop", epochs=slow)[1] == []
    assert watched("stop", epochs=slow, drop=0.15)[0].epoch == 2
    assert watched("stop", drop=0.5)[1] == []


def test_a_fall_without_a_rise_of_training_accuracy_is_said_to_be_one():
    _, told, _ = watched("warn", epochs=[(0.5, 0.5), (0.1, 0.1)])
    assert "did not rise, which speaks against it (50.00 % to 10.00 %)" in told[0]


def test_epochs_that_do_not_follow_each_other_are_not_compared():
    watch, told, _ = watched("stop", epochs=[], history={0: logs_of(0.5, 0.5), 2: logs_of(0.1, 0.9)})
    assert (told, watch.epoch) == ([], None)


def test_without_a_validation_attack_nothing_is_seen():
    watch, told, _ = watched("stop", epochs=[])
    for epoch in range(2):
        watch.on_epoch_end(epoch, {"train_accuracy": 0.5})
    assert told == []
    assert watch.epoch is None


def test_a_resumed_training_remembers_the_epoch_before_and_that_it_was_ended():
    history = {epoch: logs_of(*each) for epoch, each in enumerate(COLLAPSE[:4])}
    watch, told, shown = watched("restore", epochs=COLLAPSE[4:], history=history)
    assert (len(told), shown, watch.epoch) == (1, 1, 5)
    ended = {epoch: logs_of(*each) for epoch, each in enumerate(COLLAPSE)}
    watch, told, _ = watched("stop", epochs=[], history=ended)
    assert (len(told), watch.ends) == (1, True)
    watch, told, _ = watched("warn", epochs=[], history=ended)
    assert (told, watch.ends) == ([], False)


class Heard(TrainingListener):
    def __init__(self):
        self.lines = []

    def warns(self, line):
        self.lines.append(line)


def collapsing(monkeypatch, *, epochs=(0.6, 0.7, 0.1, 0.8)):
    """Makes validation find these accuracies under PGD, epoch by epoch."""
    shown = WatchOverfitting.on_epoch_end

    def on_epoch_end(self, epoch, logs=None):
        logs["val_robust_accuracy"] = epochs[epoch]
        shown(self, epoch, logs)

    monkeypatch.setattr(WatchOverfitting, "on_epoch_end", on_epoch_end)


def run(recipe, folder, digits):
    heard = Heard()
    defense = train(recipe, folder, digits, listener=heard)
    return defense, heard.lines


@pytest.fixture
def small(digits):
    recipe = tiny_recipe("at", epochs=4, validation_attack_steps=1, hyperparameters={"attack_steps": 1})
    return recipe, recipe.load_dataset()


@pytest.mark.parametrize(
    ("action", "select_best", "trained", "same_as"),
    [
        pytest.param("warn", "last", 4, None, marks=pytest.mark.slow),
        pytest.param("stop", "last", 3, 3, marks=pytest.mark.slow),
        ("restore", "last", 3, 2),
        pytest.param("restore", "robust", 3, 2, marks=pytest.mark.slow),
    ],
)
def test_a_run_ends_where_it_overfits_and_keeps_the_student_of_before(
    action, select_best, trained, same_as, small, tmp_path, monkeypatch
):
    recipe, data = small
    fields = recipe.settings() | {"on_overfitting": action, "select_best": select_best}
    collapsing(monkeypatch)
    defense, lines = run(Recipe.of(fields), tmp_path / "run", data)
    assert [line.partition(":")[0] for line in lines] == ["epoch 3"]
    assert sorted(logged_epochs(Workdir(tmp_path / "run"))) == list(range(trained))
    if same_as is None:
        return
    shorter, _ = run(Recipe.of(fields | {"on_overfitting": "warn", "epochs": same_as}), tmp_path / "shorter", data)
    student = load_classifier("workdir", tmp_path / "run")
    for weights in zip(
        student.get_weights(), shorter.student.get_weights(), defense.student.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(weights[0], weights[1])
        np.testing.assert_array_equal(weights[0], weights[2])
    # The same lines again do not train on, and say why.
    _, lines = run(Recipe.of(fields), tmp_path / "run", data)
    assert [line.partition(":")[0] for line in lines] == ["epoch 3"]
    assert len(logged_epochs(Workdir(tmp_path / "run"))) == trained


@pytest.mark.slow
def test_by_default_the_line_is_a_note(small, tmp_path, monkeypatch):
    recipe, data = small
    collapsing(monkeypatch)
    with pytest.warns(Note, match=r"epoch 3: .*`on_overfitting='restore'` would end a training there"):
        train(recipe, tmp_path, data)


@pytest.mark.slow
def test_a_training_that_does_not_overfit_says_nothing(small, tmp_path, monkeypatch):
    recipe, data = small
    collapsing(monkeypatch, epochs=(0.6, 0.7, 0.65, 0.8))
    with warnings.catch_warnings():
        warnings.simplefilter("error", Note)
        train(recipe, tmp_path, data)


@pytest.mark.parametrize(
    "fields", [{"defense": "undefended"}, {"defense": "at", "hyperparameters": {"validation_attack_steps": 0}}]
)
def test_watching_a_training_that_cannot_overfit_to_an_attack_is_refused(fields):
    with pytest.raises(InputError, match="`on_overfitting='stop'` needs a defense that attacks"):
        Recipe(**fields, on_overfitting="stop")
    with pytest.raises(InputError, match=r"`overfitting_drop=0\.1` needs a defense that attacks"):
        Recipe(**fields, overfitting_drop=0.1)


def test_a_teacher_is_not_watched():
    teacher = Recipe(defense="agkd_bml", on_overfitting="restore", overfitting_drop=0.1).for_teacher()
    assert (teacher.on_overfitting, teacher.overfitting_drop) == ("warn", 0.2)


def test_a_history_is_read_with_its_last_line_for_an_epoch_and_without_what_is_no_number(tmp_path):
    run = Workdir(tmp_path)
    assert logged_epochs(run) == {}
    run.history.write_text("epoch,a,b\n0,0.5,NA\n1,0.25,1\n1,0.75,\n2,0.1,2,3\nx,1,1\n")
    assert logged_epochs(run) == {0: {"a": 0.5}, 1: {"a": 0.75}, 2: {"a": 0.1, "b": 2.0}}
