import numpy as np
import pytest

from agkd_tf.analysis import nearest_neighbor_classes, neighbor_purity
from agkd_tf.errors import InputError


def transcription(reference, labels, embeddings, k):
    """The vote, image by image, in plain loops."""
    unit = [vector / np.linalg.norm(vector) for vector in reference.astype(np.float64)]
    chosen, shares = [], []
    for vector in embeddings.astype(np.float64):
        cosine = np.array([vector @ other / np.linalg.norm(vector) for other in unit])
        nearest = sorted(range(len(unit)), key=lambda place: -cosine[place])[:k]
        votes = {label: 0 for label in labels}
        sums = dict.fromkeys(labels, 0.0)
        for place in nearest:
            votes[labels[place]] += 1
            sums[labels[place]] += 1 + cosine[place]
        chosen.append(max(votes, key=lambda label: (votes[label], sums[label])))
        shares.append([labels[place] for place in nearest])
    return np.array(chosen), np.array(shares)


@pytest.mark.parametrize("k", [1, 4, 15])
def test_votes_are_those_of_a_plain_transcription(k):
    random = np.random.default_rng(k)
    labels = random.integers(0, 5, 80)
    # Few dimensions and little order: many votes are tied.
    reference = random.normal(size=(80, 6)).astype(np.float32)
    embeddings = random.normal(size=(60, 6)).astype(np.float32) * 40
    chosen, nearest = transcription(reference, labels.tolist(), embeddings, k)
    np.testing.assert_array_equal(nearest_neighbor_classes(reference, labels, embeddings, neighbors=k), chosen)
    truth = random.integers(0, 5, 60)
    purity = neighbor_purity(reference, labels, embeddings, truth, neighbors=k)
    np.testing.assert_allclose(purity, (nearest == truth[:, None]).mean(1))


def test_a_tie_goes_to_the_more_similar_class_and_never_against_a_majority():
    reference = np.array([[1, 0], [0.6, 0.8], [0.7, 0.8], [-1, 0.1], [-1, 0.2]], np.float32)
    query = np.array([[1, 0.1]], np.float32)
    assert nearest_neighbor_classes(reference, np.array([3, 3, 1, 1, 2]), query, neighbors=4) == 3
    assert nearest_neighbor_classes(reference, np.array([3, 1, 3, 1, 1]), query, neighbors=5) == 1


def test_classes_need_not_be_consecutive():
    reference = np.eye(3, dtype=np.float32)
    found = nearest_neighbor_classes(reference, np.array([7, 2, 199]), reference[::-1], neighbors=1)
    np.testing.assert_array_equal(found, [199, 2, 7])


@pytest.mark.parametrize("neighbors", [0, 4])
def test_more_neighbors_than_images_are_refused(neighbors):
    reference = np.eye(3, dtype=np.float32)
    for function in (nearest_neighbor_classes, lambda *args, **kw: neighbor_purity(*args, np.zeros(3, int), **kw)):
        with pytest.raises(InputError, match=r"`neighbors` must be in \[1, 3\]"):
            function(reference, np.arange(3), reference, neighbors=neighbors)
