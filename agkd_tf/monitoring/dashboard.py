"""What makes several runs comparable in TensorBoard: a table of their settings, and charts grouped by meaning."""

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar
from tensorboard.plugins.hparams import api as hparams

from agkd_tf.types import PathLike

ACCURACIES = ("accuracy", "robust_accuracy", "train_accuracy")


def hparams_callback(folder: PathLike, settings: Mapping[str, Any]) -> keras.callbacks.Callback:
    """Returns a callback that puts a run into TensorBoard's HParams table.

    Args:
        folder: TensorBoard folder of the run.
        settings: dict of what defines the run; what is None is left out, what is no number, truth value or string
            is shown as text.
    """
    shown = {
        name: value if isinstance(value, bool | int | float | str) else ",".join(map(str, value))
        for name, value in settings.items()
        if value is not None
    }
    return hparams.KerasCallback(str(folder), shown)


def write_layout(folder: PathLike, terms: Iterable[str]) -> None:
    """Writes the layout of TensorBoard's Custom Scalars: a chart for each accuracy, the loss, and each of its terms.

    Args:
        folder: TensorBoard folder of the run.
        terms: names of the loss' terms.
    """
    groups = {"accuracy": ACCURACIES, "loss and its terms": ("loss", *terms)}
    layout = layout_pb2.Layout(
        category=[
            layout_pb2.Category(
                title=title,
                chart=[
                    layout_pb2.Chart(title=name, multiline=layout_pb2.MultilineChartContent(tag=[f"epoch_{name}$"]))
                    for name in names
                ],
            )
            for title, names in groups.items()
        ]
    )
    with tf.summary.create_file_writer(str(folder)).as_default():
        tf.summary.experimental.write_raw_pb(custom_scalar.pb(layout).SerializeToString(), step=0)
