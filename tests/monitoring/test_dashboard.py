import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from agkd_tf.monitoring import EpochScalars, hparams_callback, write_layout


def values(folder):
    """Yields every summary value in a folder's event files."""
    for path in folder.glob("*tfevents*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            yield from event.summary.value


def test_settings_reach_the_table_of_runs(tmp_path):
    settings = {"defense": "at", "eps": 0.03, "epochs": 2, "ema": None, "mart": False, "decay_epochs": (1, 3)}
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((2, 1)), np.ones(2), verbose=0, callbacks=[hparams_callback(tmp_path, "at", settings)])
    found, ended, trials = {}, False, set()
    for value in values(tmp_path):
        data = plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)
        trials |= {data.session_start_info.group_name} - {""}
        ended |= data.HasField("session_end_info")
        for name, setting in data.session_start_info.hparams.items():
            found[name] = getattr(setting, setting.WhichOneof("kind"))
    assert found == {"defense": "at", "eps": 0.03, "epochs": 2.0, "mart": False, "decay_epochs": "1,3"}
    assert ended
    (trial,) = trials
    assert re.fullmatch("at [0-9a-f]{6}", trial)


def test_runs_of_one_name_with_other_settings_are_apart_in_the_table_of_runs(tmp_path):
    trials = set()
    for place, settings in enumerate([{"margin": 0.1}, {"margin": 0.2}, {"margin": 0.1}]):
        callback = hparams_callback(tmp_path / str(place), "at", settings)
        callback.on_train_begin()
        contents = (value.metadata.plugin_data.content for value in values(tmp_path / str(place)))
        data = [plugin_data_pb2.HParamsPluginData.FromString(content) for content in contents]
        trials |= {each.session_start_info.group_name for each in data}
    assert len(trials) == 2


LOGS = {"loss": 3.0, "attention": 0.5, "train_accuracy": 0.25, "gradient_norm": 2.0}
LOGS |= {"val_accuracy": 0.5, "val_robust_accuracy": 0.125, "val_loss": 1.0, "val_other": 4.0}


def test_each_scalar_of_an_epoch_is_written_once_beside_its_like(tmp_path):
    writer, model = EpochScalars(tmp_path, ["attention"]), keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    writer.set_model(model)
    writer.on_train_begin()
    writer.on_test_begin()
    writer.on_test_end({"accuracy": 0.5, "loss": 1.0})
    writer.on_epoch_end(0, LOGS)
    writer.on_train_end()
    found = {
        part: {value.tag: float(tf.make_ndarray(value.tensor)) for value in values(tmp_path / part) if value.tag}
        for part in ("train", "validation")
    }
    assert found["train"].pop("epoch_learning_rate") == pytest.approx(0.01)
    assert found["train"] == {
        "epoch_loss/total": 3.0,
        "epoch_loss/attention": 0.5,
        "epoch_accuracy/training": 0.25,
        "epoch_step/gradient_norm": 2.0,
    }
    assert found["validation"] == {
        "epoch_accuracy/clean": 0.5,
        "epoch_accuracy/robust": 0.125,
        "epoch_loss/validation": 1.0,
        "epoch_other": 4.0,
    }


def test_each_accuracy_and_each_term_has_its_chart(tmp_path):
    write_layout(tmp_path, ["cross_entropy", "attention"])
    (value,) = values(tmp_path)
    layout = layout_pb2.Layout.FromString(value.tensor.string_val[0])
    charts = {chart.title: list(chart.multiline.tag) for category in layout.category for chart in category.chart}
    assert [len(category.chart) for category in layout.category] == [3, 4]
    assert list(charts)[-2:] == ["cross entropy", "attention"]
    written = [f"epoch_accuracy/{name}" for name in ("clean", "robust", "training")]
    written += [f"epoch_loss/{name}" for name in ("total", "validation", "cross_entropy", "attention", "attention_2")]
    for (pattern,), tag in zip(charts.values(), written, strict=False):
        assert [other for other in written if re.match(pattern, other)] == [tag]
