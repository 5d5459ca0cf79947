"""Standard training on clean images: the undefended model (UM) and the clean teacher."""

import keras

from agkd_tf.defenses.defense import Defense
from agkd_tf.losses import check_label_smoothing, smoothed_cross_entropy


@keras.saving.register_keras_serializable(package="agkd_tf")
class Undefended(Defense):
    """Trains on clean images: L = CE_s(f(x), y).

    Args:
        student: as `Defense`.
        label_smoothing: s; 0 for the undefended model, 0.5 for AGKD-BML's teacher.
        **kwargs: as `Defense`; `eps` serves validation only.
    """

    def __init__(self, student, *, label_smoothing=0.0, **kwargs):
        super().__init__(student, **kwargs)
        self.label_smoothing = check_label_smoothing(label_smoothing, self.classifier.num_classes)

    def craft(self, clean, labels, seed):
        return {"clean": clean}

    def loss_terms(self, crafted, labels):
        logits = self.classifier(crafted["clean"], training=True).logits
        return {"cross_entropy": smoothed_cross_entropy(logits, labels, self.label_smoothing)}, logits

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.label_smoothing}
