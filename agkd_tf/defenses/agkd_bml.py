"""Attention-guided knowledge distillation and bi-directional metric learning (AGKD-BML)."""

import keras
import tensorflow as tf

from agkd_tf.attacks import most_confusing_class
from agkd_tf.attacks.objectives import targeted_cross_entropy
from agkd_tf.attention import class_irrelevant_map
from agkd_tf.data.augmentation import augment
from agkd_tf.defenses.defense import Defense
from agkd_tf.errors import InputError, check_choice, check_range
from agkd_tf.losses import (
    angular_triplet,
    attention_distillation,
    boosted_margin,
    check_label_smoothing,
    embedding_norm,
    smoothed_cross_entropy,
    weighted_divergence,
)
from agkd_tf.models import Classifier
from agkd_tf.randomness import named_seed

ATTENTION_MAPS = {"agkd": class_irrelevant_map}


@keras.saving.register_keras_serializable(package="agkd_tf")
class AGKDBML(Defense):
    """Trains a student on bi-directional adversaries under the guidance of a frozen clean teacher.

    For a clean image x of class y, the most confusing class is c = argmax_{k != y} f(x)_k. The forward
    adversary x' is x attacked towards c. Another clean image x2 is drawn uniformly from the training
    images of class c, and its backward adversary x2' is x2 attacked towards y. With h the embedding and
    A the normalised attention map, one joint training-mode pass over [x', x, x2'] gives

        L = CE_s(f(x'), y)                                                  label-smoothed; with `mart`,
          + [-mean log(1.0001 - p(x')_j) + beta * mean (1 - p(x)_y) KL(p(x) || p(x'))]  these two as well
          + attention_weight * (mean|A_f(x') - A_t(x)| + mean|A_f(x2') - A_t(x2)|)
          + triplet_weight * (mean max(0, margin + d(h', h) - d(h', h2')) + norm_weight * sum mean h^2)

    The clean image and the backward adversary get no cross-entropy. Both attacks run as one batch: the
    weights are frozen meanwhile, so that this equals two attacks.

    Args:
        student: as `Defense`.
        teacher: classifier trained on clean images, with a feature map of the student's height and
            width; frozen. None for a frozen copy of the student as it is given.
        pool: `agkd_tf.data.ClassPool` of the training images; needed to train.
        attack_steps: 2 in the supplement's main rows (the step, not published, is `eps`), 10 with `mart`.
        label_smoothing: s.
        attention_weight, triplet_weight, margin, norm_weight: of the formula.
        mart: whether the two MART terms are added.
        mart_beta: beta of the formula.
        attention: the attention map that is distilled, a name of `ATTENTION_MAPS`.
        **kwargs: as `Defense`.

    Raises:
        InputError: for values out of range, or a teacher that does not fit or is the student itself.

    Source: Wang et al., AGKD-BML: Defense Against Adversarial Attack by Attention Guided Knowledge
    Distillation and Bi-directional Metric Learning, ICCV 2021, its supplement, and the constants of its
    released code. Differences: see the project's README.
    """

    def __init__(
        self,
        student,
        teacher=None,
        *,
        pool=None,
        attack_steps=2,
        label_smoothing=0.5,
        attention_weight=1.0,
        triplet_weight=2.0,
        margin=0.03,
        norm_weight=0.001,
        mart=False,
        mart_beta=6.0,
        attention="agkd",
        **kwargs,
    ):
        self.term_weights = {"cross_entropy": 1.0}
        if mart:
            self.term_weights |= {"boosted_margin": 1.0, "weighted_divergence": mart_beta}
        self.term_weights |= {
            "attention": attention_weight,
            "triplet": triplet_weight,
            "embedding_norm": triplet_weight * norm_weight,
        }
        super().__init__(student, attack_steps=attack_steps, **kwargs)
        self.teacher = _frozen(student if teacher is None else teacher, copy=teacher is None)
        self.guide = Classifier(self.teacher)
        _check_pair(self.classifier, self.guide)
        self.pool = pool
        self.label_smoothing = check_label_smoothing(label_smoothing, self.classifier.num_classes)
        self.attention_weight = check_range("attention_weight", attention_weight, 0.0)
        self.triplet_weight = check_range("triplet_weight", triplet_weight, 0.0)
        self.margin = check_range("margin", margin, 0.0)
        self.norm_weight = check_range("norm_weight", norm_weight, 0.0)
        self.mart, self.mart_beta = mart, check_range("mart_beta", mart_beta, 0.0)
        self.attention = check_choice("attention", attention, sorted(ATTENTION_MAPS))

    def craft(self, clean, labels, seed):
        if self.pool is None:
            raise InputError("AGKDBML needs `pool`, a ClassPool of the training images, to train")
        confusing = most_confusing_class(self.classifier.logits(clean), labels)
        other = self.pool.sample(confusing, named_seed(seed, "pool"))
        other = augment(self.augmentation, other, named_seed(seed, "pool_augmentation"))
        both, targets = tf.concat([clean, other], 0), tf.concat([confusing, labels], 0)
        adv = self.perturb(both, lambda logits: targeted_cross_entropy(logits, targets), seed)
        forward, backward = tf.split(adv, 2)
        teacher_maps = ATTENTION_MAPS[self.attention](self.guide(both).features)
        return {"forward": forward, "clean": clean, "backward": backward, "teacher_maps": teacher_maps}

    def loss_terms(self, crafted, labels):
        joint = tf.concat([crafted["forward"], crafted["clean"], crafted["backward"]], 0)
        outputs = self.classifier(joint, training=True)
        forward_logits, clean_logits, _ = tf.split(outputs.logits, 3)
        forward, clean, backward = tf.split(outputs.embedding, 3)
        forward_features, _, backward_features = tf.split(outputs.features, 3)
        adv_maps = ATTENTION_MAPS[self.attention](tf.concat([forward_features, backward_features], 0))
        terms = {
            "cross_entropy": smoothed_cross_entropy(forward_logits, labels, self.label_smoothing),
            # The mean over both halves, times 2, is the sum of the two means.
            "attention": 2.0 * attention_distillation(adv_maps, crafted["teacher_maps"]),
            "triplet": angular_triplet(forward, clean, backward, margin=self.margin),
            "embedding_norm": embedding_norm(forward, clean, backward),
        }
        if self.mart:
            terms["boosted_margin"] = boosted_margin(forward_logits, labels)
            terms["weighted_divergence"] = weighted_divergence(clean_logits, forward_logits, labels)
        return terms, forward_logits

    def get_config(self):
        return {
            **super().get_config(),
            "teacher": keras.saving.serialize_keras_object(self.teacher),
            "label_smoothing": self.label_smoothing,
            "attention_weight": self.attention_weight,
            "triplet_weight": self.triplet_weight,
            "margin": self.margin,
            "norm_weight": self.norm_weight,
            "mart": self.mart,
            "mart_beta": self.mart_beta,
            "attention": self.attention,
        }


def _frozen(model, *, copy):
    if copy:
        weights = model.get_weights()
        model = keras.models.clone_model(model)
        model.set_weights(weights)
    model.trainable = False
    return model


def _check_pair(student, teacher):
    shared = {id(weight) for weight in student.model.weights} & {id(weight) for weight in teacher.model.weights}
    if shared:
        raise InputError("`teacher` shares weights with the student: it could not stay frozen; give a copy")
    if teacher.num_classes != student.num_classes:
        raise InputError(f"`teacher` has {teacher.num_classes} classes, the student {student.num_classes}")
    if teacher.image_shape != student.image_shape:
        raise InputError(f"`teacher` takes images {teacher.image_shape}, the student {student.image_shape}")
    maps = [classifier.map_shape for classifier in (teacher, student)]
    if maps[0] != maps[1]:
        raise InputError(f"`teacher` has attention maps of {maps[0]}, the student of {maps[1]}")
