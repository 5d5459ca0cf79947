"""Standard training on clean images: the undefended model (UM) and the clean teacher."""

from typing import Any

import keras
import tensorflow as tf

from agkd_tf.defenses.defense import Defense, LabelSmoothing, Tensors
from agkd_tf.losses import check_label_smoothing, smoothed_cross_entropy


@keras.saving.register_keras_serializable(package="agkd_tf")
class Undefended(Defense):
    """Trains on clean images: L = CE_s(f(x), y).

    s, the label smoothing, is 0 for the undefended model and 0.5 for AGKD-BML's teacher. Only validation uses `eps`.

    Args:
        student: as `Defense`.
        **kwargs: as `Defense`.
    """

    def __init__(self, student: keras.Model, *, label_smoothing: LabelSmoothing = 0.0, **kwargs: Any) -> None:
        super().__init__(student, **kwargs)
        check_label_smoothing(label_smoothing, self.classifier.num_classes)

    def craft(self, clean: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> Tensors:
        return {"clean": clean}

    def loss_terms(self, crafted: Tensors, labels: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        logits = self.classifier(crafted["clean"], training=True).logits
        return {"cross_entropy": smoothed_cross_entropy(logits, labels, self.label_smoothing)}, logits
