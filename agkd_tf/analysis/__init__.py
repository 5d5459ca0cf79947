"""Analysis of a network's embeddings (nearest neighbors, class separation, t-SNE) and of its attention."""

from agkd_tf.analysis.attention_shift import attention_shift
from agkd_tf.analysis.class_separation import ClassSeparation, check_separable, class_separation
from agkd_tf.analysis.embeddings import embed
from agkd_tf.analysis.nearest_neighbors import NEIGHBORS, nearest_neighbor_classes, neighbor_purity
from agkd_tf.analysis.tsne import tsne

__all__ = [
    "NEIGHBORS",
    "ClassSeparation",
    "attention_shift",
    "check_separable",
    "class_separation",
    "embed",
    "nearest_neighbor_classes",
    "neighbor_purity",
    "tsne",
]
