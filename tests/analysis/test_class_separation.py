import numpy as np
import pytest
from scipy.spatial.distance import cdist

from agkd_tf.analysis import class_separation


def clusters(spread, seed=0):
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(4), 30)
    return (np.eye(4, 8)[labels] + spread * random.normal(size=(120, 8))).astype(np.float32), labels


def test_silhouette_and_purity_equal_their_definitions():
    clean, labels = clusters(0.3)
    adversarial, truth = clusters(0.6, seed=1)
    found = class_separation(clean, labels, adversarial, truth, neighbors=10)
    distance, values = cdist(clean, clean, "cosine"), []
    for place, label in enumerate(labels):
        own = (labels == label) & (np.arange(120) != place)
        inside = distance[place, own].mean()
        outside = min(distance[place, labels == other].mean() for other in set(labels) - {label})
        values.append((outside - inside) / max(outside, inside))
    assert found.silhouette == pytest.approx(np.mean(values), abs=1e-5)
    nearest = np.argsort(cdist(adversarial, clean, "cosine"), axis=1)[:, :10]
    assert found.purity == pytest.approx((labels[nearest] == truth[:, None]).mean(), abs=1e-6)


def test_intervals_are_as_wide_as_the_mean_is_uncertain():
    clean, labels = clusters(0.5)
    adversarial, truth = clusters(1.0, seed=1)
    found = class_separation(clean, labels, adversarial, truth)
    half = 1.96 * np.std(_purities(clean, labels, adversarial, truth)) / np.sqrt(120)
    low, high = found.purity_interval
    assert (found.purity - low, high - found.purity) == pytest.approx((half, half), rel=0.2)
    assert found.silhouette_interval[0] < found.silhouette < found.silhouette_interval[1]


def _purities(clean, labels, adversarial, truth):
    nearest = np.argsort(cdist(adversarial, clean, "cosine"), axis=1)[:, :50]
    return (labels[nearest] == truth[:, None]).mean(1)


def test_classes_farther_apart_have_better_numbers():
    adversarial, truth = clusters(0.6, seed=1)
    near, far = (class_separation(*clusters(spread), adversarial, truth) for spread in (1.0, 0.2))
    assert near.silhouette < far.silhouette
    assert near.purity < far.purity
