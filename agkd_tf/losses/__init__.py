"""Losses: functions of tensors that know no model."""

from agkd_tf.losses.angular_triplet import angular_distance, angular_triplet, embedding_norm
from agkd_tf.losses.attention_distillation import attention_distillation
from agkd_tf.losses.label_smoothing import check_label_smoothing, smoothed_cross_entropy
from agkd_tf.losses.mart import boosted_margin, weighted_divergence

__all__ = [
    "angular_distance",
    "angular_triplet",
    "attention_distillation",
    "boosted_margin",
    "check_label_smoothing",
    "embedding_norm",
    "smoothed_cross_entropy",
    "weighted_divergence",
]
