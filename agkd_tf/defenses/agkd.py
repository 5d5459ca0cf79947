"""Attention-guided knowledge distillation (AGKD)."""

from typing import Annotated, Any

import keras
import tensorflow as tf

from agkd_tf.attention import ATTENTION_MAPS
from agkd_tf.defenses.bidirectional import Bidirectional, Joint
from agkd_tf.defenses.defense import Tensors
from agkd_tf.errors import InputError
from agkd_tf.losses import attention_distillation
from agkd_tf.models import Classifier
from agkd_tf.settings import Choice, Weight


@keras.saving.register_keras_serializable(package="agkd_tf")
class AGKD(Bidirectional):
    """Adds the guidance of a frozen clean teacher to `Bidirectional`: AGKD-BML without the metric loss.

    With A_f and A_t the normalised attention maps of the student f and the teacher t, the loss gains the term

        + attention_weight * (mean |A_f(x') - A_t(x)| + mean |A_f(x2') - A_t(x2)|)

    The weight is 1 in the public code; the maps are those of `agkd_tf.attention.ATTENTION_MAPS`.

    Args:
        student: as `Defense`.
        teacher: classifier trained on clean images, whose feature map has the height and width of the
            student's; it is frozen. None for a frozen copy of the student as given. `layer_names` applies to the
            teacher, too, where it has layers of these names.
        **kwargs: as `Bidirectional`.

    Raises:
        InputError: for values out of range, a teacher that does not fit or is the student itself, or a
            head that class-relevant maps cannot be made from.

    Source: Wang et al., AGKD-BML, ICCV 2021; the variants: its supplement, Table 3. The sources do not say
    whether the backward adversary stays in the batch without the metric loss: `backward_adversary` decides.
    """

    guide: Classifier
    needs = Bidirectional.needs | {"teacher"}
    starts_from_teacher = True

    def __init__(
        self,
        student: keras.Model,
        teacher: keras.Model | None = None,
        *,
        attention_weight: Annotated[Weight, "Weight of the attention distillation."] = 1.0,
        attention: Annotated[str, Choice(ATTENTION_MAPS), "Attention map that is distilled."] = "agkd",
        **kwargs: Any,
    ) -> None:
        super().__init__(student, **kwargs)
        self.classifier.check_features()
        self.teacher = _frozen(student if teacher is None else teacher, copy=teacher is None)
        self.guide = _guide(self.teacher, self.classifier.layer_names)
        _check_pair(self.classifier, self.guide)
        for network in (self.classifier, self.guide):
            ATTENTION_MAPS[attention].check(network)

    @property
    def term_weights(self) -> dict[str, float]:
        return super().term_weights | {"attention": self.attention_weight}

    def craft(self, clean: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> Tensors:
        crafted = super().craft(clean, labels, seed)
        return crafted | {"teacher_features": self.teach(crafted)}

    def teach(self, crafted: Tensors) -> tf.Tensor:
        """Returns the teacher's features [B, h, w, K] of the clean images, followed by those of the second images.

        Args:
            crafted: what `Bidirectional.craft` returned.
        """
        return self.guide(tf.concat([crafted[name] for name in ("clean", "other") if name in crafted], 0)).features

    def joint_terms(self, joint: Joint, crafted: Tensors, labels: tf.Tensor) -> Tensors:
        logits, features, true = joint.forward.logits, joint.forward.features, labels
        if joint.backward is not None:
            logits = tf.concat([logits, joint.backward.logits], 0)
            features = tf.concat([features, joint.backward.features], 0)
            true = tf.concat([true, crafted["confusing"]], 0)
        attention_map = ATTENTION_MAPS[self.attention]
        classes = attention_map.choose(logits, true)
        student_maps = attention_map.draw(features, self.classifier, classes)
        teacher_maps = attention_map.draw(crafted["teacher_features"], self.guide, classes)
        # The mean over both halves, times 2, is the sum of the two means.
        halves = 2.0 if self.backward_adversary else 1.0
        attention = halves * attention_distillation(student_maps, teacher_maps)
        return super().joint_terms(joint, crafted, labels) | {"attention": attention}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "teacher": keras.saving.serialize_keras_object(self.teacher)}


def _guide(teacher: keras.Model, layer_names: dict[str, str | None]) -> Classifier:
    """Returns the `Classifier` of a teacher, with the student's layer names where the teacher has such layers."""
    try:
        guide = Classifier(teacher)
        names = {part: name for part, name in layer_names.items() if name and guide.has_layer(name)}
        guide = Classifier(teacher, **names) if names else guide
        guide.check_features()
    except InputError as error:
        raise InputError(f"`teacher`: {error}") from error
    return guide


def _frozen(model: keras.Model, *, copy: bool) -> keras.Model:
    if copy:
        weights = model.get_weights()
        model = keras.models.clone_model(model)
        model.set_weights(weights)
    model.trainable = False
    return model


def _check_pair(student: Classifier, teacher: Classifier) -> None:
    shared = {id(weight) for weight in student.model.weights} & {id(weight) for weight in teacher.model.weights}
    if shared:
        raise InputError("`teacher` shares weights with the student, so it could not stay frozen: give a copy")
    if teacher.num_classes != student.num_classes:
        raise InputError(f"`teacher` has {teacher.num_classes} classes, the student {student.num_classes}")
    if teacher.image_shape != student.image_shape:
        raise InputError(f"`teacher` takes images {teacher.image_shape}, the student {student.image_shape}")
    maps = [classifier.map_shape for classifier in (teacher, student)]  # both have one, as checked before
    if maps[0] != maps[1]:
        raise InputError(f"`teacher` has attention maps of {maps[0]}, the student of {maps[1]}")
