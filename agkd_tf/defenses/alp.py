"""Adversarial logit pairing (ALP)."""

from typing import Annotated, Any

import keras
import tensorflow as tf

from agkd_tf.defenses.adversarial_training import AdversarialTraining
from agkd_tf.defenses.defense import Tensors
from agkd_tf.losses import embedding_pairing, logit_pairing, smoothed_cross_entropy
from agkd_tf.settings import Choice, Weight

PairingWeight = Annotated[Weight, "Weight of the pairing term."]
# What is paired, a field of `agkd_tf.models.Outputs` -> the term of the loss.
PAIRINGS = {"logits": logit_pairing, "embedding": embedding_pairing}


@keras.saving.register_keras_serializable(package="agkd_tf")
class ALP(AdversarialTraining):
    """Pairs the logits of an image x and its adversarial image x', in one joint training-mode pass over both.

        L = CE_s over x and x' + pairing_weight * mean (z(x) - z(x'))^2

    with z the logits, float32 [B, n]. The gradient flows through both sides. The attack is that of adversarial
    training. The weight is 0.5 in the released code; the one behind the CIFAR-10 rows is not published. A `pairing` of
    "embedding" uses mean ||h(x) - h(x')||^2 instead, as does the released code of SML, whose paper the published rows
    come from.

    Args:
        student: as `Defense`.
        **kwargs: as `AdversarialTraining`.

    Source: Kannan et al., Adversarial Logit Pairing, 2018.
    """

    training_images = 2
    takes_soft_labels = False

    def __init__(
        self,
        student: keras.Model,
        *,
        pairing_weight: PairingWeight = 0.5,
        pairing: Annotated[
            str, Choice(PAIRINGS), "What is paired between an image and its adversarial image."
        ] = "logits",
        **kwargs: Any,
    ) -> None:
        super().__init__(student, **kwargs)

    @property
    def term_weights(self) -> dict[str, float]:
        return super().term_weights | {"pairing": self.pairing_weight}

    def craft(self, clean: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> Tensors:
        return super().craft(clean, labels, seed) | {"clean": clean}

    def loss_terms(self, crafted: Tensors, labels: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        both = self.classifier(tf.concat([crafted["clean"], crafted["adv"]], 0), training=True)
        pair = tf.split(getattr(both, self.pairing), 2)
        return {
            "cross_entropy": smoothed_cross_entropy(both.logits, tf.concat([labels, labels], 0), self.label_smoothing),
            "pairing": PAIRINGS[self.pairing](*pair),
        }, tf.split(both.logits, 2)[1]
