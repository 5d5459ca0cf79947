import re

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from agkd_tf.monitoring import hparams_callback, write_layout


def values(folder):
    """Yields every summary value in a folder's event files."""
    for path in folder.glob("*tfevents*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            yield from event.summary.value


def test_settings_reach_the_table_of_runs(tmp_path):
    settings = {"defense": "at", "eps": 0.03, "epochs": 2, "ema": None, "mart": False, "decay_epochs": (1, 3)}
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((2, 1)), np.ones(2), verbose=0, callbacks=[hparams_callback(tmp_path, settings)])
    found, ended = {}, False
    for value in values(tmp_path):
        data = plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)
        ended |= data.HasField("session_end_info")
        for name, setting in data.session_start_info.hparams.items():
            found[name] = getattr(setting, setting.WhichOneof("kind"))
    assert found == {"defense": "at", "eps": 0.03, "epochs": 2.0, "mart": False, "decay_epochs": "1,3"}
    assert ended


def test_each_accuracy_and_each_term_has_its_chart(tmp_path):
    write_layout(tmp_path, ["cross_entropy", "attention"])
    (value,) = values(tmp_path)
    layout = layout_pb2.Layout.FromString(value.tensor.string_val[0])
    charts = {chart.title: list(chart.multiline.tag) for category in layout.category for chart in category.chart}
    assert [len(category.chart) for category in layout.category] == [3, 3]
    names = ["accuracy", "robust_accuracy", "train_accuracy", "loss", "cross_entropy", "attention"]
    assert list(charts) == names
    for chart, patterns in charts.items():
        shown = [name for name in [*names, "loss_scale"] if any(re.match(tag, f"epoch_{name}") for tag in patterns)]
        assert shown == [chart]
