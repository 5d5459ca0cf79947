"""Losses: functions of tensors that are independent of any model."""

from agkd_tf.losses.adversarial_label import adversarial_label
from agkd_tf.losses.angular_triplet import angular_distance, angular_triplet, embedding_norm
from agkd_tf.losses.attention_distillation import attention_distillation
from agkd_tf.losses.distillation import gradient_matching, softened_divergence
from agkd_tf.losses.divergence import kl_divergence
from agkd_tf.losses.hinge import margin_hinge
from agkd_tf.losses.label_smoothing import (
    check_label_smoothing,
    smoothed_cross_entropy,
    soft_cross_entropy,
    soft_objective,
)
from agkd_tf.losses.logit_pairing import embedding_pairing, logit_pairing
from agkd_tf.losses.mart import boosted_margin, weighted_divergence
from agkd_tf.losses.optimal_transport import optimal_transport, transport_plan

__all__ = [
    "adversarial_label",
    "angular_distance",
    "angular_triplet",
    "attention_distillation",
    "boosted_margin",
    "check_label_smoothing",
    "embedding_norm",
    "embedding_pairing",
    "gradient_matching",
    "kl_divergence",
    "logit_pairing",
    "margin_hinge",
    "optimal_transport",
    "smoothed_cross_entropy",
    "soft_cross_entropy",
    "soft_objective",
    "softened_divergence",
    "transport_plan",
    "weighted_divergence",
]
