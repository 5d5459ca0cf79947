import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.analysis import attention_shift
from agkd_tf.attention import class_irrelevant_map
from agkd_tf.models import Classifier, build_model


@pytest.fixture(scope="module")
def networks():
    """Student and teacher."""
    models = (build_model("wrn-10-1", image_shape=(16, 16, 1), num_classes=10, seed=seed) for seed in (1, 2))
    return [Classifier(model) for model in models]


def maps(classifier, images):
    return class_irrelevant_map(classifier(tf.constant(images)).features).numpy()


def test_distances_are_means_over_places_and_images_whatever_the_batch(networks, digits):
    student, teacher = networks
    examples = digits.test.take(slice(0, 7))
    clean = examples.images / np.float32(255)
    adversaries = np.clip(clean + 0.2, 0, 1)
    found = attention_shift(student, examples, adversaries, teacher=teacher, batch_size=3)
    assert list(found) == ["teacher, clean", "student, clean"]
    for (mean, (low, high)), other in zip(found.values(), (teacher, student), strict=True):
        distances = np.abs(maps(student, adversaries) - maps(other, clean)).mean((1, 2))
        assert mean == pytest.approx(distances.mean(), abs=1e-5)
        assert low < mean < high


def test_nothing_moves_without_an_attack_and_without_a_teacher_there_is_no_distance_to_it(networks, digits):
    examples = digits.test.take(slice(0, 5))
    found = attention_shift(networks[0], examples, examples.images / np.float32(255))
    assert list(found) == ["student, clean"]
    assert found["student, clean"][0] == pytest.approx(0, abs=1e-6)


def test_the_interval_of_one_image_is_its_distance(networks, digits):
    examples = digits.test.take(slice(0, 1))
    found = attention_shift(networks[0], examples, np.zeros((1, 16, 16, 1), np.float32))
    mean, interval = found["student, clean"]
    assert interval == (mean, mean)
