import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.attention import ATTENTION_MAPS, class_irrelevant_map
from agkd_tf.models import Classifier, build_model
from agkd_tf.monitoring import attention_figure, most_attacked

EPS = 0.1


@pytest.fixture
def scene(digits):
    """Student, teacher, three images, and adversaries that are brighter by half of eps."""
    networks = [build_model("wrn-10-1", image_shape=(16, 16, 1), num_classes=10, seed=seed) for seed in (1, 2)]
    examples = digits.test.take(slice(0, 3))
    clean = examples.images / np.float32(255)
    return *map(Classifier, networks), examples, clean, np.clip(clean + EPS / 2, 0, 1)


def columns(figure, rows):
    """Returns heading -> the pictures drawn below it."""
    axes = [axis for axis in figure.axes if axis.images]
    count = len(axes) // rows
    return {
        axes[place].get_title(): [line.images[0].get_array() for line in axes[place::count]] for place in range(count)
    }


def test_each_column_shows_what_its_heading_says(scene):
    student, teacher, examples, clean, adversaries = scene
    names = [f"class {number}" for number in range(10)]
    figure = attention_figure(student, examples, adversaries, eps=EPS, class_names=names, teacher=teacher)
    drawn = columns(figure, 3)
    images, attacked = tf.constant(clean), tf.constant(adversaries)
    expected = {
        "clean": clean[..., 0],
        "adversary": adversaries[..., 0],
        "perturbation\n(±25.5/255)": (0.5 + (adversaries - clean) / (2 * EPS))[..., 0],
        "teacher,\nclean": class_irrelevant_map(teacher(images).features),
        "student,\nclean": class_irrelevant_map(student(images).features),
        "student,\nadversary": class_irrelevant_map(student(attacked).features),
    }
    assert list(drawn) == list(expected)
    for heading, pictures in expected.items():
        np.testing.assert_allclose(drawn[heading], pictures, atol=1e-5)
    seen = np.argmax(student.logits(attacked), 1)
    titles = [axis.get_ylabel() for axis in figure.axes if axis.get_ylabel().startswith("class")]
    assert titles == [f"class {true}\n→ class {found}" for true, found in zip(examples.labels, seen, strict=True)]


@pytest.mark.parametrize("attention", ["gradcam_orig", "gradcam_false"])
def test_a_class_relevant_map_is_of_the_class_that_training_would_choose(attention, scene):
    student, _, examples, clean, adversaries = scene
    figure = attention_figure(student, examples, adversaries, eps=EPS, class_names=range(10), attention=attention)
    drawn = columns(figure, 3)
    assert "teacher,\nclean" not in drawn
    logits = student.logits(tf.constant(adversaries))
    classes = np.array(examples.labels)
    if attention == "gradcam_false":
        others = np.array(logits)
        others[np.arange(3), examples.labels] = -np.inf
        classes = others.argmax(1)
    maps = ATTENTION_MAPS[attention].draw(student(tf.constant(clean)).features, student, tf.constant(classes, tf.int32))
    np.testing.assert_allclose(drawn["student,\nclean"], maps, atol=1e-5)


def test_the_most_attacked_classes_come_first_and_show_an_image_that_fell():
    labels = np.array([0, 0, 1, 1, 1, 2, 2, 3])
    clean = np.array(
        [0, 0, 1, 1, 0, 2, 1, 0]
    )  # one image of class 1, one of class 2 and all of class 3 were wrong before
    broken = np.array([0, 5, 5, 5, 5, 5, 2, 5])
    # Class 1 lost 2 of 2, class 2 lost 1 of 1, class 0 lost 1 of 2, class 3 had none to lose.
    assert most_attacked(labels, clean, broken, 6) == [2, 5, 1]
    assert most_attacked(labels, clean, broken, 1) == [2]
    assert most_attacked(labels, clean, clean, 6) == []
