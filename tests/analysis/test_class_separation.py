import numpy as np
import pytest
from scipy.spatial.distance import cdist

from agkd_tf.analysis import class_separation
from agkd_tf.errors import InputError


def images(spread, attack):
    """Embeddings of clean images in four classes, of their adversaries, and the classes."""
    random, labels = np.random.default_rng(0), np.repeat(np.arange(4), 30)
    clean = np.eye(4, 8)[labels] + spread * random.normal(size=(120, 8))
    return clean.astype(np.float32), (clean + attack * random.normal(size=(120, 8))).astype(np.float32), labels


def purities(clean, adversarial, labels, neighbors):
    distance = cdist(adversarial, clean, "cosine")
    np.fill_diagonal(distance, np.inf)
    return (labels[np.argsort(distance, axis=1)[:, :neighbors]] == labels[:, None]).mean(1)


def test_silhouette_and_purity_equal_their_definitions():
    clean, adversarial, labels = images(0.3, 0.5)
    found = class_separation(clean, adversarial, labels, neighbors=10)
    distance, values = cdist(clean, clean, "cosine"), []
    for place, label in enumerate(labels):
        own = (labels == label) & (np.arange(120) != place)
        inside = distance[place, own].mean()
        outside = min(distance[place, labels == other].mean() for other in set(labels) - {label})
        values.append((outside - inside) / max(outside, inside))
    assert found.silhouette == pytest.approx(np.mean(values), abs=1e-5)
    assert found.purity == pytest.approx(purities(clean, adversarial, labels, 10).mean(), abs=1e-6)


def test_intervals_are_as_wide_as_the_mean_is_uncertain():
    found = class_separation(*images(0.5, 1.0))
    half = 1.96 * np.std(purities(*images(0.5, 1.0), 50)) / np.sqrt(120)
    low, high = found.purity_interval
    assert (found.purity - low, high - found.purity) == pytest.approx((half, half), rel=0.2)
    assert found.silhouette_interval[0] < found.silhouette < found.silhouette_interval[1]


def test_classes_farther_apart_have_better_numbers():
    near, far = (class_separation(*images(spread, 0.6)) for spread in (1.0, 0.2))
    assert near.silhouette < far.silhouette
    assert near.purity < far.purity


@pytest.mark.parametrize(
    ("labels", "received"), [([4, 4, 4], "3 images, 1 classes"), ([0, 1, 2], "3 images, 3 classes")]
)
def test_images_without_a_class_to_be_apart_from_or_to_be_in_are_refused(labels, received):
    embeddings = np.eye(3, dtype=np.float32)
    with pytest.raises(InputError, match=f"`labels` must have images of at least two classes.* Received: {received}"):
        class_separation(embeddings, embeddings, np.array(labels), neighbors=1)
