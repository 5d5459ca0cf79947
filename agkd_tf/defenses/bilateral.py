"""Bilateral adversarial training (BAT): both the image and its label are perturbed."""

import keras
import tensorflow as tf

from agkd_tf.attacks import random_other_class
from agkd_tf.attacks.objectives import targeted_cross_entropy
from agkd_tf.defenses.adversarial_defense import AdversarialDefense
from agkd_tf.errors import check_choice, check_range
from agkd_tf.logits import most_confusing_class, nearest_boundary_class
from agkd_tf.losses import adversarial_label, soft_cross_entropy
from agkd_tf.randomness import named_seed

TARGETS = ("mc", "mix", "mosa", "random")


@keras.saving.register_keras_serializable(package="agkd_tf")
class Bilateral(AdversarialDefense):
    """Trains on one-step targeted adversaries x' with adversarial labels q: L = CE(f(x'), q).

    q is the label that hurts the clean prediction most (see `agkd_tf.losses.adversarial_label`).
    R-MC-LA, the paper's main method, is the default.

    Args:
        student: as `Defense`.
        target: class that x is attacked towards: "mc", the most confusing one; "mosa", the one whose
            boundary is nearest; "mix", "mosa" where x is classified correctly and "mc" elsewhere;
            "random", any wrong one.
        label_adversary: whether labels are perturbed; otherwise q is the true class.
        label_ratio: how many times the true class outweighs the largest other in q; 9 in the released code.
        label_gap: how far the class confused most stays from no mass in q; 0.01 in the released code.
        attack_steps: 1 in the paper, with a step of eps.
        **kwargs: as `AdversarialDefense`.

    Raises:
        InputError: for values out of range, or "mosa" and "mix" with a head that they cannot read.

    Source: Wang and Zhang, Bilateral Adversarial Training, ICCV 2019, and its released code.
    """

    def __init__(
        self,
        student,
        *,
        target="mc",
        label_adversary=True,
        label_ratio=9.0,
        label_gap=0.01,
        attack_steps=1,
        **kwargs,
    ):
        super().__init__(student, attack_steps=attack_steps, **kwargs)
        self.target = check_choice("target", target, TARGETS)
        if target in ("mosa", "mix"):
            self.classifier.check_pooled_dense()
        self.label_adversary = label_adversary
        self.label_ratio = check_range("label_ratio", label_ratio, 1.0)
        self.label_gap = check_range("label_gap", label_gap, 1e-6)

    def choose_target(self, logits, labels, seed):
        """Returns the int32 [B] classes to attack towards, from logits [B, n] of the clean images."""
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

    def craft(self, clean, labels, seed):
        logits = self.classifier.logits(clean)
        targets = self.choose_target(logits, labels, seed)
        if self.label_adversary:
            soft = adversarial_label(logits, labels, ratio=self.label_ratio, gap=self.label_gap)
        else:
            soft = tf.one_hot(labels, self.classifier.num_classes)
        adv = self.perturb(clean, lambda scores: targeted_cross_entropy(scores, targets), seed)
        return {"adv": adv, "soft_labels": soft}

    def loss_terms(self, crafted, labels):
        logits = self.classifier(crafted["adv"], training=True).logits
        return {"cross_entropy": soft_cross_entropy(logits, crafted["soft_labels"])}, logits

    def get_config(self):
        return {
            **super().get_config(),
            "target": self.target,
            "label_adversary": self.label_adversary,
            "label_ratio": self.label_ratio,
            "label_gap": self.label_gap,
        }
