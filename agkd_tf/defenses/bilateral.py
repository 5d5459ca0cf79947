"""Bilateral adversarial training (BAT): both the image and its label are perturbed."""

from typing import Annotated, Any, Literal

import keras
import tensorflow as tf

from agkd_tf.attacks import random_other_class
from agkd_tf.attacks.objectives import targeted_cross_entropy
from agkd_tf.defenses.adversarial_defense import AdversarialDefense
from agkd_tf.defenses.defense import Tensors
from agkd_tf.logits import most_confusing_class, nearest_boundary_class
from agkd_tf.losses import adversarial_label, soft_cross_entropy
from agkd_tf.randomness import named_seed
from agkd_tf.settings import Range


@keras.saving.register_keras_serializable(package="agkd_tf")
class Bilateral(AdversarialDefense):
    """Trains on one-step targeted adversarial images x' with adversarial labels q: L = CE(f(x'), q).

    q is the label that hurts the clean prediction most (see `agkd_tf.losses.adversarial_label`).
    The default is R-MC-LA, the paper's main method, with a step of eps and the released code's ratio and gap. x is
    attacked towards `target`: "mc", the most confusing class; "mosa", the class whose boundary is nearest; "mix",
    "mosa" if x is classified correctly, else "mc"; "random", any wrong class.

    Args:
        student: as `Defense`.
        **kwargs: as `AdversarialDefense`.

    Raises:
        InputError: for values out of range, or for "mosa" or "mix" with a head that does not support them.

    Source: Wang and Zhang, Bilateral Adversarial Training, ICCV 2019, and its released code.
    """

    def __init__(
        self,
        student: keras.Model,
        *,
        target: Annotated[Literal["mc", "mix", "mosa", "random"], "Class that images are attacked towards."] = "mc",
        label_adversary: Annotated[bool, "Perturb the labels, too; otherwise use the true labels."] = True,
        label_ratio: Annotated[
            float, Range(1.0), "Mass of the true class in a perturbed label, relative to the largest other class."
        ] = 9.0,
        label_gap: Annotated[
            float, Range(1e-6), "How far the most confusing class stays from zero mass in a perturbed label."
        ] = 0.01,
        attack_steps: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(student, attack_steps=attack_steps, **kwargs)
        if target in ("mosa", "mix"):
            self.classifier.check_pooled_dense()

    def choose_target(self, logits: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Returns the classes to attack towards, int32 [B], from the logits [B, n] of the clean images."""
        if self.target == "random":
            return random_other_class(labels, self.classifier.num_classes, named_seed(seed, "target"))
        confusing = most_confusing_class(logits, labels)
        if self.target == "mc":
            return confusing
        nearest = nearest_boundary_class(logits, labels, self.classifier.head_kernel)
        if self.target == "mosa":
            return nearest
        correct = tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), labels)
        return tf.where(correct, nearest, confusing)

    def craft(self, clean: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> Tensors:
        logits = self.classifier.logits(clean)
        targets = self.choose_target(logits, labels, seed)
        if self.label_adversary:
            soft = adversarial_label(logits, labels, ratio=self.label_ratio, gap=self.label_gap)
        else:
            soft = tf.one_hot(labels, self.classifier.num_classes)
        adv = self.perturb(clean, lambda scores: targeted_cross_entropy(scores, targets), seed)
        return {"adv": adv, "soft_labels": soft}

    def loss_terms(self, crafted: Tensors, labels: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        logits = self.classifier(crafted["adv"], training=True).logits
        return {"cross_entropy": soft_cross_entropy(logits, crafted["soft_labels"])}, logits
