"""Misclassification-aware adversarial training (MART)."""

from typing import Any

import keras
import tensorflow as tf

from agkd_tf.attacks.objectives import cross_entropy
from agkd_tf.defenses.adversarial_defense import AdversarialDefense
from agkd_tf.defenses.bidirectional import MartBeta
from agkd_tf.defenses.defense import LabelSmoothing, Tensors
from agkd_tf.losses import boosted_margin, check_label_smoothing, smoothed_cross_entropy, weighted_divergence


@keras.saving.register_keras_serializable(package="agkd_tf")
class MART(AdversarialDefense):
    """Gives more weight to the images that the student does not classify well.

    With x' the PGD adversarial image of x, and j the most probable class of x' other than y,

        L = CE_s(f(x'), y) + mean -log(1.0001 - p(x')_j) + mart_beta * mean (1.0000001 - p(x)_y) KL(p(x) || p(x'))

    x and x' take separate training-mode passes; the gradient flows through every factor. beta, the paper's lambda, is 6
    for wide networks and 5 for ResNet-18. The 10 steps and the standard deviation of the Gaussian start, 0.001, are the
    released code's; s is 0.

    Args:
        student: as `Defense`.
        **kwargs: as `AdversarialDefense`.

    Source: Wang et al., Improving Adversarial Robustness Requires Revisiting Misclassified Examples,
    ICLR 2020, eq. 11; constants of its released code.
    """

    training_images = 2

    def __init__(
        self,
        student: keras.Model,
        *,
        mart_beta: MartBeta = 6.0,
        attack_steps: int = 10,
        start_stddev: float | None = 0.001,
        label_smoothing: LabelSmoothing = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(student, attack_steps=attack_steps, start_stddev=start_stddev, **kwargs)
        check_label_smoothing(label_smoothing, self.classifier.num_classes)

    @property
    def term_weights(self) -> dict[str, float]:
        return super().term_weights | {"boosted_margin": 1.0, "weighted_divergence": self.mart_beta}

    def craft(self, clean: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> Tensors:
        return {"clean": clean, "adv": self.perturb(clean, lambda logits: cross_entropy(logits, labels), seed)}

    def loss_terms(self, crafted: Tensors, labels: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        clean_logits = self.classifier(crafted["clean"], training=True).logits
        adv_logits = self.classifier(crafted["adv"], training=True).logits
        return {
            "cross_entropy": smoothed_cross_entropy(adv_logits, labels, self.label_smoothing),
            "boosted_margin": boosted_margin(adv_logits, labels),
            "weighted_divergence": weighted_divergence(clean_logits, adv_logits, labels),
        }, adv_logits
