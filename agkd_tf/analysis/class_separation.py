"""Measures how well a network's embeddings separate the classes, clean and under attack."""

from typing import NamedTuple

import numpy as np
from sklearn.metrics import silhouette_samples
from sklearn.preprocessing import normalize

from agkd_tf.analysis.nearest_neighbors import NEIGHBORS, neighbor_purity
from agkd_tf.errors import InputError, check_range
from agkd_tf.intervals import mean_interval
from agkd_tf.types import Interval


class ClassSeparation(NamedTuple):
    """Means over images, each with its 95 % bootstrap interval.

    Attributes:
        purity: share of an adversarial image's nearest clean images that have its true class, in [0, 1].
        purity_interval: (low, high).
        silhouette: silhouette coefficient of the clean images by class, with cosine distance, in [-1, 1].
        silhouette_interval: (low, high).
    """

    purity: float
    purity_interval: Interval
    silhouette: float
    silhouette_interval: Interval


def check_separable(labels: np.ndarray, *, neighbors: int, name: str = "labels") -> None:
    """Checks that `class_separation` can be measured on images with these labels.

    Args:
        labels: int [N].
        neighbors: as for `class_separation`.
        name: name of the argument that chose the images, for messages.

    Raises:
        InputError: if all images have the same class, if no two images share a class, or if `neighbors` is not in
            [1, N - 1].
    """
    count, classes = len(labels), len(np.unique(labels))
    if not 2 <= classes < count:
        raise InputError(
            f"`{name}` must have images of at least two classes, and at least two images of one class. "
            f"Received: {count} images, {classes} classes"
        )
    check_range("neighbors", neighbors, 1, count - 1)


def class_separation(
    clean: np.ndarray, adversarial: np.ndarray, labels: np.ndarray, *, neighbors: int = NEIGHBORS
) -> ClassSeparation:
    """Returns the `ClassSeparation` of embeddings.

    Args:
        clean: float32 [N, K], embeddings of images.
        adversarial: float32 [N, K], embeddings of their adversaries.
        labels: int [N], with at least two classes, and at least two images of one class.
        neighbors: number of nearest clean images per adversary; the image that it was made from does not count.

    Raises:
        InputError: see `check_separable`.

    Source: Rousseeuw, Silhouettes, 1987, for the silhouette.
    """
    check_separable(labels, neighbors=neighbors)
    own = np.arange(len(labels))
    purity = neighbor_purity(clean, labels, adversarial, labels, own=own, neighbors=neighbors)
    silhouette = silhouette_samples(normalize(clean), labels, metric="cosine")
    return ClassSeparation(
        float(purity.mean()), mean_interval(purity), float(silhouette.mean()), mean_interval(silhouette)
    )
