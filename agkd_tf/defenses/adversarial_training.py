"""Adversarial training (AT)."""

from typing import Any

import keras
import tensorflow as tf

from agkd_tf.attacks.objectives import cross_entropy
from agkd_tf.defenses.defense import LabelSmoothing, Tensors
from agkd_tf.defenses.mixing import MixingDefense
from agkd_tf.losses import check_label_smoothing, smoothed_cross_entropy, soft_objective


@keras.saving.register_keras_serializable(package="agkd_tf")
class AdversarialTraining(MixingDefense):
    """Trains on untargeted PGD adversarial images: L = CE_s(f(x_adv), y).

    The released code attacks the network in training mode and lets the attack change its BN statistics;
    this implementation does neither.

    The paper uses 7 steps of 2/255 at an eps of 8/255, and s = 0.

    Args:
        student: as `Defense`.
        **kwargs: as `MixingDefense`.

    Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018.
    """

    def __init__(
        self, student: keras.Model, *, attack_steps: int = 7, label_smoothing: LabelSmoothing = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(student, attack_steps=attack_steps, **kwargs)
        check_label_smoothing(label_smoothing, self.classifier.num_classes)

    def craft(self, clean: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> Tensors:
        if self.cutmix:
            mixed, soft_labels = self.mixed(clean, labels, seed)
            adv = self.perturb(mixed, soft_objective(soft_labels), seed, batches=self.cutmix_copies)
            return {"adv": adv, "labels": soft_labels}
        return {"adv": self.perturb(clean, lambda logits: cross_entropy(logits, labels), seed)}

    def loss_terms(self, crafted: Tensors, labels: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        logits = self.classifier(crafted["adv"], training=True).logits
        targets = crafted.get("labels", labels)
        return {"cross_entropy": smoothed_cross_entropy(logits, targets, self.label_smoothing)}, self.own(logits)
