"""Adversarial training (AT)."""

from typing import Any

import keras
import tensorflow as tf

from agkd_tf.attacks.objectives import cross_entropy
from agkd_tf.defenses.adversarial_defense import AdversarialDefense
from agkd_tf.defenses.defense import LabelSmoothing, Tensors
from agkd_tf.losses import check_label_smoothing, smoothed_cross_entropy


@keras.saving.register_keras_serializable(package="agkd_tf")
class AdversarialTraining(AdversarialDefense):
    """Trains on untargeted PGD adversarial images: L = CE_s(f(x_adv), y).

    The released code attacks the network in training mode and lets the attack change its BN statistics;
    this implementation does neither.

    The paper uses 7 steps of 2/255 at an eps of 8/255, and s = 0.

    Args:
        student: as `Defense`.
        **kwargs: as `AdversarialDefense`.

    Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018.
    """

    def __init__(
        self, student: keras.Model, *, attack_steps: int = 7, label_smoothing: LabelSmoothing = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(student, attack_steps=attack_steps, **kwargs)
        check_label_smoothing(label_smoothing, self.classifier.num_classes)

    def craft(self, clean: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> Tensors:
        return {"adv": self.perturb(clean, lambda logits: cross_entropy(logits, labels), seed)}

    def loss_terms(self, crafted: Tensors, labels: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        logits = self.classifier(crafted["adv"], training=True).logits
        return {"cross_entropy": smoothed_cross_entropy(logits, labels, self.label_smoothing)}, logits
