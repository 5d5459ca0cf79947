import numpy as np
import pytest

from agkd_tf.analysis import nearest_neighbor_classes, neighbor_purity
from agkd_tf.analysis.nearest_neighbors import METRICS
from agkd_tf.errors import InputError


def transcription(reference, labels, embeddings, k, metric):
    """The vote, image by image, in plain loops."""
    reference, chosen = reference.astype(np.float64), []
    for vector in embeddings.astype(np.float64):
        if metric == "cosine":
            scale = np.linalg.norm(vector) * np.linalg.norm(reference, axis=1)
            similarity = 1 + reference @ vector / scale
        else:
            similarity = np.array([1 / (1 + np.linalg.norm(vector - other)) for other in reference])
        nearest = sorted(range(len(reference)), key=lambda place: -similarity[place])[:k]
        votes = {label: 0 for label in labels}
        sums = dict.fromkeys(labels, 0.0)
        for place in nearest:
            votes[labels[place]] += 1
            sums[labels[place]] += similarity[place]
        chosen.append(max(votes, key=lambda label: (votes[label], sums[label])))
    return np.array(chosen)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 4, 15])
def test_votes_are_those_of_a_plain_transcription(k, metric):
    random = np.random.default_rng(k)
    labels = random.integers(0, 5, 80)
    # Few dimensions and little order: many votes are tied.
    reference = random.normal(size=(80, 6)).astype(np.float32)
    embeddings = random.normal(size=(60, 6)).astype(np.float32) * 4
    chosen = transcription(reference, labels.tolist(), embeddings, k, metric)
    found = nearest_neighbor_classes(reference, labels, embeddings, neighbors=k, metric=metric)
    np.testing.assert_array_equal(found, chosen)


def test_a_tie_goes_to_the_more_similar_class_and_never_against_a_majority():
    reference = np.array([[1, 0], [0.6, 0.8], [0.7, 0.8], [-1, 0.1], [-1, 0.2]], np.float32)
    query = np.array([[1, 0.1]], np.float32)
    assert nearest_neighbor_classes(reference, np.array([3, 3, 1, 1, 2]), query, neighbors=4) == 3
    assert nearest_neighbor_classes(reference, np.array([3, 1, 3, 1, 1]), query, neighbors=5) == 1


def test_classes_need_not_be_consecutive():
    reference = np.eye(3, dtype=np.float32)
    found = nearest_neighbor_classes(reference, np.array([7, 2, 199]), reference[::-1], neighbors=1)
    np.testing.assert_array_equal(found, [199, 2, 7])


def test_purity_leaves_an_images_own_clean_image_out():
    random = np.random.default_rng(5)
    reference, labels = random.normal(size=(30, 4)).astype(np.float32), random.integers(0, 3, 30)
    own = random.integers(0, 30, 40)
    # Half of the adversaries stay close to their image, the others are anywhere.
    embeddings = reference[own] + random.normal(size=(40, 4)) * np.repeat([0.01, 9.0], 20)[:, None]
    purity = neighbor_purity(reference, labels, embeddings, labels[own], own=own, neighbors=6)
    for place, vector in enumerate(embeddings):
        cosine = reference @ vector / np.linalg.norm(reference, axis=1)
        nearest = [other for other in np.argsort(-cosine) if other != own[place]][:6]
        assert purity[place] == pytest.approx(np.mean(labels[nearest] == labels[own[place]]))


@pytest.mark.parametrize("neighbors", [0, 4])
def test_more_neighbors_than_images_are_refused(neighbors):
    reference, places = np.eye(3, dtype=np.float32), np.arange(3)
    with pytest.raises(InputError, match=r"`neighbors` must be in \[1, 3\]"):
        nearest_neighbor_classes(reference, places, reference, neighbors=neighbors)
    with pytest.raises(InputError, match=r"`neighbors` must be in \[1, 2\]"):
        neighbor_purity(reference, places, reference, places, own=places, neighbors=neighbors)
