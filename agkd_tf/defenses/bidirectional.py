"""What BML, AGKD and AGKD-BML share: bi-directional adversaries and one joint pass over them."""

from typing import Annotated, Any, NamedTuple

import keras
import tensorflow as tf

from agkd_tf.attacks.objectives import cross_entropy, targeted_cross_entropy
from agkd_tf.data.augmentation import augment
from agkd_tf.data.class_pool import ClassPool
from agkd_tf.defenses.adversarial_defense import AdversarialDefense
from agkd_tf.defenses.defense import LabelSmoothing, Tensors
from agkd_tf.logits import most_confusing_class
from agkd_tf.losses import boosted_margin, check_label_smoothing, smoothed_cross_entropy, weighted_divergence
from agkd_tf.models import Outputs
from agkd_tf.randomness import named_seed
from agkd_tf.settings import Weight

MartBeta = Annotated[Weight, "beta: weight of MART's divergence."]


class Joint(NamedTuple):
    """The student's training-mode `Outputs` for each part of the joint pass; `backward` may be missing."""

    forward: Outputs
    clean: Outputs
    backward: Outputs | None = None


class Bidirectional(AdversarialDefense):
    """Base class of the defenses that attack in two directions.

    For a clean image x of class y, the most confusing class is c = argmax_{k != y} f(x)_k. The forward
    adversary x' is x attacked towards c. Another clean image x2 is drawn uniformly from the training
    images of class c, and its backward adversary x2' is x2 attacked towards y. One joint training-mode
    pass runs on [x', x, x2']; only the forward adversary has a cross-entropy,

        L = CE_s(f(x'), y) + joint_terms
          [+ mean -log(1.0001 - p(x')_j) + beta * mean (1.0000001 - p(x)_y) KL(p(x) || p(x'))  with `mart`]

    Both attacks run as one batch, which equals two attacks because the weights do not change meanwhile. The
    supplement's main rows use 2 steps (their size is not published; here it is `eps`), 10 with `mart`, and s = 0.5;
    beta is 6 in the public code.

    Args:
        student: as `Defense`.
        pool: `agkd_tf.data.ClassPool` of the training images; required for training.
        **kwargs: as `AdversarialDefense`.
    """

    def __init__(
        self,
        student: keras.Model,
        *,
        pool: ClassPool | None = None,
        attack_steps: int = 2,
        label_smoothing: LabelSmoothing = 0.5,
        mart: Annotated[bool, "Add the two terms of MART to the loss."] = False,
        mart_beta: MartBeta = 6.0,
        targeted: Annotated[
            bool, "Attack images towards their most confusing class; otherwise only away from the true class."
        ] = True,
        backward_adversary: Annotated[
            bool,
            "Also attack an image of the most confusing class; otherwise train on the forward adversary and the clean "
            "image only.",
        ] = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(student, attack_steps=attack_steps, **kwargs)
        self.pool = pool
        check_label_smoothing(label_smoothing, self.classifier.num_classes)

    needs = frozenset({"pool"})

    @property
    def training_images(self) -> int:  # type: ignore[override]  # here it depends on the instance
        return 3 if self.backward_adversary else 2

    @property
    def term_weights(self) -> dict[str, float]:
        mart = {"boosted_margin": 1.0, "weighted_divergence": self.mart_beta} if self.mart else {}
        return super().term_weights | mart

    def joint_terms(self, joint: Joint, crafted: Tensors, labels: tf.Tensor) -> Tensors:
        """Returns the terms of the loss that a subclass adds, as scalars by name.

        Args:
            joint: `Joint`.
            crafted: what `craft` returned; `confusing` is int32 [B].
            labels: int32 [B].
        """
        return {}

    def craft(self, clean: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> Tensors:
        confusing = most_confusing_class(self.classifier.logits(clean), labels)
        ascended, classes = (targeted_cross_entropy, confusing) if self.targeted else (cross_entropy, labels)
        pool = self.needed_pool
        if not self.backward_adversary:
            forward = self.perturb(clean, lambda logits: ascended(logits, classes), seed)
            return {"forward": forward, "clean": clean, "confusing": confusing}
        other = pool.sample(confusing, named_seed(seed, "pool"))
        other = augment(self.augmentation, other, named_seed(seed, "pool_augmentation"))

        def objective(logits: tf.Tensor) -> tf.Tensor:
            ahead, back = tf.split(logits, 2)
            return tf.concat([ascended(ahead, classes), targeted_cross_entropy(back, labels)], 0)

        forward, backward = tf.split(self.perturb(tf.concat([clean, other], 0), objective, seed, batches=2), 2)
        return {"forward": forward, "clean": clean, "backward": backward, "other": other, "confusing": confusing}

    def loss_terms(self, crafted: Tensors, labels: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        parts = [crafted[name] for name in Joint._fields if name in crafted]
        seen = self.classifier(tf.concat(parts, 0), training=True)
        outputs = [[None] * len(parts) if tensor is None else tf.split(tensor, len(parts)) for tensor in seen]
        joint = Joint(*(Outputs(*part) for part in zip(*outputs, strict=True)))
        logits = joint.forward.logits
        terms = {"cross_entropy": smoothed_cross_entropy(logits, labels, self.label_smoothing)}
        if self.mart:
            terms["boosted_margin"] = boosted_margin(logits, labels)
            terms["weighted_divergence"] = weighted_divergence(joint.clean.logits, logits, labels)
        return terms | self.joint_terms(joint, crafted, labels), logits
