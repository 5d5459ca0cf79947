"""Bi-directional metric learning (BML)."""

from typing import Annotated, Any

import keras
import tensorflow as tf

from agkd_tf.defenses.bidirectional import Bidirectional, Joint
from agkd_tf.defenses.defense import Tensors
from agkd_tf.errors import InputError
from agkd_tf.losses import angular_triplet, embedding_norm
from agkd_tf.settings import Range, Weight

TripletWeight = Annotated[Weight, "Weight of the metric loss."]
Margin = Annotated[float, Range(0.0), "Margin of the triplet loss."]
NormWeight = Annotated[Weight, "Weight of the squared embedding norms within the metric loss."]


@keras.saving.register_keras_serializable(package="agkd_tf")
class BML(Bidirectional):
    """Adds the metric loss to `Bidirectional`: AGKD-BML without the teacher.

    With h the embedding, float32 [B, K], and d = 1 - |cos| the angular distance, float32 [B], the loss gains the term

        + triplet_weight * (mean max(0, margin + d(h', h) - d(h', h2')) + norm_weight * sum mean h^2)

    The anchor is the forward adversary, the positive its clean image, the negative the backward
    adversary; the gradient flows through all three. The defaults are the released code's.

    Args:
        student: as `Defense`.
        **kwargs: as `Bidirectional`.

    Raises:
        InputError: for values out of range, or without the backward adversary.

    Source: Wang et al., AGKD-BML, ICCV 2021, and the constants of its released code.
    """

    starts_from_teacher = True

    def __init__(
        self,
        student: keras.Model,
        *,
        triplet_weight: TripletWeight = 2.0,
        margin: Margin = 0.03,
        norm_weight: NormWeight = 0.001,
        **kwargs: Any,
    ) -> None:
        super().__init__(student, **kwargs)
        self.classifier.check_embedding()
        if not self.backward_adversary:
            raise InputError(
                "the metric loss needs its negatives, the backward adversaries: give `backward_adversary=True`"
            )

    @property
    def term_weights(self) -> dict[str, float]:
        metric = {"triplet": self.triplet_weight, "embedding_norm": self.triplet_weight * self.norm_weight}
        return super().term_weights | metric

    def joint_terms(self, joint: Joint, crafted: Tensors, labels: tf.Tensor) -> Tensors:
        assert joint.backward is not None  # as checked in the constructor
        anchor, positive, negative = joint.forward.embedding, joint.clean.embedding, joint.backward.embedding
        metric = {
            "triplet": angular_triplet(anchor, positive, negative, margin=self.margin),
            "embedding_norm": embedding_norm(anchor, positive, negative),
        }
        return super().joint_terms(joint, crafted, labels) | metric
