"""Attention-guided knowledge distillation (AGKD)."""

from typing import Annotated, Any

import keras
import tensorflow as tf

from agkd_tf.attention import ATTENTION_MAPS
from agkd_tf.defenses.bidirectional import Bidirectional, Joint
from agkd_tf.defenses.defense import Tensors
from agkd_tf.defenses.guided import Guided, frozen_copy
from agkd_tf.errors import InputError
from agkd_tf.losses import attention_distillation
from agkd_tf.settings import Choice, Weight


@keras.saving.register_keras_serializable(package="agkd_tf")
class AGKD(Bidirectional, Guided):
    """Adds the guidance of a frozen clean teacher to `Bidirectional`: AGKD-BML without the metric loss.

    With A_f and A_t the normalised attention maps of the student f and the teacher t, the loss gains the term

        + attention_weight * (mean |A_f(x') - A_t(x)| + mean |A_f(x2') - A_t(x2)|)

    The weight is 1 in the public code; the maps are those of `agkd_tf.attention.ATTENTION_MAPS`.

    Args:
        student: as `Defense`.
        teacher: classifier trained on clean images, whose feature map has the height and width of the
            student's; it is frozen. None for a frozen copy of the student as given. `layer_names` applies to the
            teacher, too, where it has layers of these names. A robust teacher is accepted; the paper did not try one.
        **kwargs: as `Bidirectional`.

    Raises:
        InputError: for values out of range, a teacher that does not fit or is the student itself, or a
            head that class-relevant maps cannot be made from.

    Source: Wang et al., AGKD-BML, ICCV 2021; the variants: its supplement, Table 3. The sources do not say
    whether the backward adversary stays in the batch without the metric loss: `backward_adversary` decides.
    """

    needs = Bidirectional.needs | Guided.needs
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
        self.take_teacher(frozen_copy(student) if teacher is None else teacher, with_features=True)
        maps = [classifier.map_shape for classifier in (self.guide, self.classifier)]
        if maps[0] != maps[1]:
            raise InputError(f"`teacher` has attention maps of {maps[0]}, the student of {maps[1]}")
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
