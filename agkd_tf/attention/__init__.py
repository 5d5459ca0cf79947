"""Attention maps computed from a classifier's last feature map."""

from agkd_tf.attention.class_average import class_average_map, mean_class_map
from agkd_tf.attention.class_irrelevant import class_irrelevant_map
from agkd_tf.attention.distilled_maps import ATTENTION_MAPS, AttentionMap, comparable, compared_maps
from agkd_tf.attention.grad_cam import grad_cam
from agkd_tf.attention.normalization import normalize_map

__all__ = [
    "ATTENTION_MAPS",
    "AttentionMap",
    "class_average_map",
    "class_irrelevant_map",
    "comparable",
    "compared_maps",
    "grad_cam",
    "mean_class_map",
    "normalize_map",
]
