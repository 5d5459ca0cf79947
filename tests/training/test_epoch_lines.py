"""What a training shows: one line per epoch."""

import dataclasses
import itertools

import pytest

from agkd_tf.progress import Progress
from agkd_tf.training import TrainingOptions, TrainingRun, epoch_lines
from agkd_tf.training.epoch_lines import EpochLines
from tests.trainings import tiny_recipe

LOGS = {"loss": 2.3114, "val_accuracy": 0.3165, "val_robust_accuracy": 0.1007, "images_per_second": 1402.4}
RECIPE = tiny_recipe("at", epochs=2, validation_attack_steps=2, hyperparameters={"attack_steps": 1})


def test_a_line_has_loss_validation_throughput_and_the_time_that_is_left(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr(epoch_lines.time, "monotonic", lambda: now)
    callback = EpochLines(Progress("lines"), epochs=62, steps=5, first_line="A heading")
    callback.set_params({"steps": 5})
    without = {name: value for name, value in LOGS.items() if name != "val_robust_accuracy"}
    for epoch, (seconds, logs) in enumerate([(60.0, LOGS), (2.0, LOGS), (2.0, without)]):
        callback.on_epoch_begin(epoch)
        now += seconds
        callback.on_epoch_end(epoch, logs)
    first, heading, *lines = capsys.readouterr().out.splitlines()
    assert first == "A heading"
    assert heading.split() == ["epoch", "loss", "clean", "robust", "images/s", "left"]
    assert lines[0].split() == ["1/62", "2.3114", "31.65", "%", "10.07", "%", "1,402", "1:01:00"]
    assert lines[1].split()[-1] == "02:00"  # 60 epochs of two seconds: the slow first one does not count
    assert lines[2].split() == ["3/62", "2.3114", "31.65", "%", "1,402", "01:58"]
    assert len({len(line) for line in (heading, *lines)}) == 1


def test_a_long_epoch_says_how_far_it_is_also_where_it_is_resumed(monkeypatch, capsys):
    clock = itertools.count(0, 40)
    monkeypatch.setattr(epoch_lines.time, "monotonic", lambda: next(clock))
    callback = EpochLines(Progress("lines"), epochs=3, steps=10)
    callback.set_params({"steps": 4})  # six of the ten are done
    callback.on_epoch_begin(1)
    callback.on_train_batch_end(0)
    # 40 seconds for the one step that was done here; the six before took none.
    assert capsys.readouterr().out.startswith("epoch 2 of 3: 7 of 10 steps, 120 s left")


def test_an_epoch_that_was_resumed_counts_as_a_whole_one(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr(epoch_lines.time, "monotonic", lambda: now)
    callback = EpochLines(Progress("lines"), epochs=4, steps=10)
    callback.set_params({"steps": 2})
    callback.on_epoch_begin(0)
    now += 6.0
    callback.on_epoch_end(0, LOGS)
    assert capsys.readouterr().out.splitlines()[-1].split()[-1] == "01:30"  # three epochs of 30 seconds


@pytest.mark.parametrize("mode", ["lines", pytest.param("off", marks=pytest.mark.slow)])
def test_a_training_shows_each_epoch_once_under_one_heading(mode, tmp_path, digits, capsys):
    options = TrainingOptions(progress=mode, panel_every=0)
    for epochs in (1, 2):  # the second goes on where the first ended
        TrainingRun(dataclasses.replace(RECIPE, epochs=epochs), tmp_path, options=options).run()
    lines = capsys.readouterr().out.splitlines()
    heading = "Accuracies on 20 validation images, robust: under PGD-2"
    expected = [heading, "epoch", "1/1", heading, "epoch", "2/2"] if mode == "lines" else []
    assert [line if line == heading else line.split()[0] for line in lines] == expected
