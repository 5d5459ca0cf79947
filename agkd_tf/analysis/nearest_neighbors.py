"""k-nearest-neighbor classification on a network's embeddings."""

from typing import Literal, get_args

import numpy as np
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.preprocessing import normalize

from agkd_tf.errors import check_choice, check_range

NEIGHBORS = 50
Metric = Literal["cosine", "euclidean"]
METRICS: tuple[Metric, ...] = get_args(Metric)


def nearest_neighbor_classes(
    reference: np.ndarray,
    reference_labels: np.ndarray,
    embeddings: np.ndarray,
    *,
    neighbors: int = NEIGHBORS,
    metric: Metric = "cosine",
) -> np.ndarray:
    """Classifies images by a vote of their k nearest clean training images.

    The majority wins. In a tie, the class with the greater sum of similarities wins.

    Args:
        reference: float32 [M, K], embeddings of clean training images without augmentation.
        reference_labels: int [M].
        embeddings: float32 [N, K], embeddings of the images to classify.
        neighbors: k, at most M.
        metric: "cosine", with similarity 1 + cosine, or "euclidean", with similarity 1 / (1 + distance).

    Returns:
        int [N], the classes.

    Raises:
        InputError: if k is not in [1, M], or for an unknown metric.

    Source: AGKD-BML's supplement, Table 6, with k = 50. Cosine similarity (as in SML's t-SNE), the clean
    training set as the reference and the rule for ties are our own choices.
    """
    check_range("neighbors", neighbors, 1, len(reference))
    if check_choice("metric", metric, METRICS) == "cosine":
        reference, embeddings = normalize(reference), normalize(embeddings)

    def votes(distances: np.ndarray) -> np.ndarray:
        # For unit vectors, 1 + cosine is 2 - d^2 / 2. All similarities together count for at most half a vote.
        similarities = 2.0 - distances**2 / 2.0 if metric == "cosine" else 2.0 / (1.0 + distances)
        return 1.0 + similarities / (4.0 * neighbors)

    search = KNeighborsClassifier(neighbors, weights=votes, algorithm="brute")
    search.fit(reference, reference_labels)
    return search.predict(embeddings).astype(np.int32)


def neighbor_purity(
    reference: np.ndarray,
    reference_labels: np.ndarray,
    embeddings: np.ndarray,
    labels: np.ndarray,
    *,
    own: np.ndarray,
    neighbors: int = NEIGHBORS,
) -> np.ndarray:
    """Returns, per adversarial image, the share of its k nearest clean images that have its true class.

    Args:
        reference, reference_labels: as for `nearest_neighbor_classes`.
        embeddings: float32 [N, K], embeddings of adversarial images.
        labels: int [N], the true classes.
        own: int [N], index in the reference of the clean image that each adversary was made from; it does not
            count as a neighbor.
        neighbors: k, at most M - 1.

    Returns:
        float64 [N] in [0, 1].

    Raises:
        InputError: if k is not in [1, M - 1].
    """
    check_range("neighbors", neighbors, 1, len(reference) - 1)
    search = NearestNeighbors(n_neighbors=neighbors + 1, algorithm="brute").fit(normalize(reference))
    nearest = search.kneighbors(normalize(embeddings), return_distance=False)
    others = nearest != np.asarray(own)[:, None]
    others[others.all(1), -1] = False
    nearest = nearest[others].reshape(-1, neighbors)
    return np.mean(np.asarray(reference_labels)[nearest] == np.asarray(labels)[:, None], axis=1)
