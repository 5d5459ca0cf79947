"""What makes several runs comparable in TensorBoard: a table of their settings, and charts grouped by meaning."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar
from tensorboard.plugins.hparams import api as hparams

from agkd_tf.types import PathLike

#: Scalar of an epoch -> the name given to Keras, which writes `epoch_NAME`, without `val_`. TensorBoard shows together
#: what stands before the slash, in the order of the alphabet: accuracies come first, also in the table of runs.
NAMES = {
    "val_accuracy": "val_accuracy/clean",
    "val_robust_accuracy": "val_accuracy/robust",
    "train_accuracy": "accuracy/training",
    "loss": "loss/total",
    "val_loss": "val_loss/validation",
}
#: Chart -> name of its scalar.
ACCURACIES = {
    "validation images": "accuracy/clean",
    "validation images, attacked": "accuracy/robust",
    "training images, as trained on": "accuracy/training",
}
LOSSES = {"total, in training": "loss/total", "cross entropy of validation images": "loss/validation"}


class EpochScalars(keras.callbacks.TensorBoard):
    """Writes the scalars of each epoch, each once, by names that put what belongs together side by side.

    Args:
        folder: TensorBoard folder of the run.
        terms: names of the loss' terms.
    """

    def __init__(self, folder: PathLike, terms: Iterable[str]) -> None:
        super().__init__(str(folder), write_graph=False)
        self._names = NAMES | {term: f"loss/{term}" for term in terms}

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        super().on_epoch_end(epoch, {self._name(scalar): value for scalar, value in (logs or {}).items()})

    def _name(self, scalar: str) -> str:
        return self._names.get(scalar, scalar if scalar.startswith("val_") else f"step/{scalar}")

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        super().on_test_end({})  # what a validation finds is among its epoch's scalars


def hparams_callback(folder: PathLike, name: str, settings: Mapping[str, Any]) -> keras.callbacks.Callback:
    """Returns a callback that puts a run into TensorBoard's HParams table.

    Args:
        folder: TensorBoard folder of the run.
        name: what the table calls it; a few characters follow that tell runs of this name with other settings apart.
        settings: dict of what defines the run; what is None is left out, what is no number, truth value or string
            is shown as text.
    """
    shown = {
        setting: value if isinstance(value, bool | int | float | str) else ",".join(map(str, value))
        for setting, value in settings.items()
        if value is not None
    }
    digest = hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()
    return hparams.KerasCallback(str(folder), shown, trial_id=f"{name} {digest[:6]}")


def write_layout(folder: PathLike, terms: Iterable[str]) -> None:
    """Writes the layout of TensorBoard's Custom Scalars: a chart for each accuracy, loss, and term of the loss.

    Args:
        folder: TensorBoard folder of the run.
        terms: names of the loss' terms.
    """
    groups = {"accuracy": ACCURACIES, "loss and its terms": LOSSES | {_words(term): f"loss/{term}" for term in terms}}
    layout = layout_pb2.Layout(
        category=[
            layout_pb2.Category(
                title=title,
                chart=[
                    layout_pb2.Chart(title=chart, multiline=layout_pb2.MultilineChartContent(tag=[f"epoch_{name}$"]))
                    for chart, name in names.items()
                ],
            )
            for title, names in groups.items()
        ]
    )
    with tf.summary.create_file_writer(str(folder)).as_default():
        tf.summary.experimental.write_raw_pb(custom_scalar.pb(layout).SerializeToString(), step=0)


def _words(name: str) -> str:
    return name.replace("_", " ")
