import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from agkd_tf.analysis import tsne
from agkd_tf.errors import InputError


def test_neighborhoods_of_directions_survive_and_lengths_do_not_matter():
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 25)
    embeddings = (np.eye(3, 16)[labels] + 0.1 * random.normal(size=(75, 16))).astype(np.float32)
    scaled = embeddings * random.uniform(0.1, 10, size=(75, 1)).astype(np.float32)
    points = tsne(scaled, iterations=500)
    assert points.shape == (75, 2)
    assert KNeighborsClassifier(5).fit(points, labels).score(points, labels) == 1.0


def test_a_seed_gives_one_plane():
    embeddings = np.random.default_rng(1).normal(size=(40, 8)).astype(np.float32)
    np.testing.assert_array_equal(*(tsne(embeddings, iterations=300, seed=3) for _ in range(2)))


def test_too_few_images_are_refused():
    with pytest.raises(InputError, match=r"`perplexity` must be less than the number of images, 15"):
        tsne(np.zeros((15, 4), np.float32))
