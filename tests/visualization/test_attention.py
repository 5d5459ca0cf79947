"""The attention figure of any model, with its numbers, from Python."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import agkd_tf
from agkd_tf.analysis import attention_shift
from agkd_tf.attacks import PGD
from agkd_tf.errors import InputError, Note
from agkd_tf.evaluation import subject_of
from agkd_tf.models import Classifier, build_model
from agkd_tf.visualization import draw_attention

EPS = 0.02


@pytest.fixture(scope="module")
def network(fragile):
    return fragile[0]


@pytest.fixture(scope="module")
def images(fragile):
    """24 digits, labelled as the network sees them."""
    return fragile[1].images[:24], fragile[1].labels[:24]


@pytest.fixture(scope="module")
def drawing(network, images, smooth_network):
    teacher = smooth_network((16, 16, 1))
    return draw_attention(network, *images, attack=PGD(2), eps=EPS, teacher=teacher, rows=3, progress="off")


def test_it_draws_images_that_fell_of_the_most_attacked_classes(drawing, network, images):
    x, y = images
    rows, columns = len(drawing.places), 6
    assert rows > 1
    assert max(drawing.places) >= rows  # not merely the first ones
    pictures = [axis for axis in drawing.figure.axes if axis.images]
    assert [axis.get_title() for axis in pictures[:2]] == ["clean", "adversary"]
    assert "teacher,\nclean" in [axis.get_title() for axis in pictures[:columns]]
    for row, place in enumerate(drawing.places):
        axis, attacked = pictures[row * columns : row * columns + 2]
        true, seen = axis.get_ylabel().split("\n→ ")
        assert int(true) == y[place] != int(seen)
        clean, adversary = (each.images[0].get_array() for each in (axis, attacked))
        np.testing.assert_allclose(clean, x[place, ..., 0] / np.float32(255))
        assert np.abs(adversary - clean).max() <= EPS + 1e-6
        assert network(tf.constant(adversary)[None, ..., None], training=False).numpy().argmax() == int(seen)


def test_its_numbers_are_the_shift_of_the_maps_of_all_images(drawing, network, images):
    x, y = images
    assert drawing.described["num_examples"] == len(y)
    assert list(drawing.distances) == ["teacher, clean", "student, clean"]
    mean, (low, high) = drawing.distances["student, clean"]
    assert 0 < low < mean < high
    adversaries = PGD(2)(network, x, y, eps=EPS)
    expected = attention_shift(Classifier(network), agkd_tf.data.Examples(x, y), adversaries)
    assert mean == pytest.approx(expected["student, clean"][0], rel=1e-4)
    assert f"student, clean: {mean:.4f}" in str(drawing)
    assert str(drawing).startswith(f"Images {', '.join(map(str, drawing.places))} of the 24 given, l_inf eps 0.02\n")


def test_it_is_saved_as_pictures_and_numbers(drawing, tmp_path):
    pictures = drawing.save(tmp_path, tensorboard=tmp_path / "tensorboard")
    assert [path.name for path in pictures] == ["attention_agkd_pgd-2.png", "attention_agkd_pgd-2.pdf"]
    content = json.loads((tmp_path / "attention_agkd_pgd-2.json").read_text())
    assert (content["eps"], content["attention"], content["dataset"]) == (EPS, "agkd", None)
    assert content["distance_to"]["student, clean"]["mean"] == drawing.distances["student, clean"][0]
    assert list((tmp_path / "tensorboard").glob("*tfevents*"))


def test_chosen_images_are_drawn_and_without_a_teacher_there_is_none(network, digits):
    found = draw_attention(network, digits.test, attack="clean", eps=0.1, images=[3, 1], progress="off")
    assert found.places == (3, 1)
    assert found.distances["student, clean"][0] == pytest.approx(0, abs=1e-6)
    assert (found.described["num_examples"], found.described["split"]) == (2, "test")
    assert "teacher, clean" not in found.distances
    assert str(found).startswith("Images 3, 1 of digits test, l_inf eps 0.1\n")


def test_the_teacher_of_a_defense_is_its_own(images):
    student, teacher = (build_model("tiny", image_shape=(16, 16, 1), num_classes=10, seed=seed) for seed in (0, 1))
    defense = agkd_tf.AGKD(student, teacher=teacher)
    found = draw_attention(defense, *images, attack="clean", eps=0.1, images=[0], progress="off")
    assert "teacher, clean" in found.distances


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "`eps`, the radius of the ball, is needed"),
        ({"eps": 8}, "did you mean 8/255"),
        ({"eps": 0.1, "images": [24]}, r"`images` must be integers in \[0, 23\]. Received: 24"),
        ({"eps": 0.1, "attention": "eyes"}, "`attention` must be one of agkd"),
        ({"eps": 0.1, "attack": "clean"}, r"`attack` clean breaks none of 24 images: choose images, `images=\(0, 1\)`"),
        ({"eps": 0.1, "class_names": ["a"]}, "`class_names` must be 10"),
        ({"eps": 0.1, "class_names": "abcdefghij"}, "`class_names` must be 10"),
        ({"eps": 0.1, "progress": "loud"}, "`progress` must be one of"),
    ],
)
def test_what_is_not_understood_is_refused(settings, message, network, images):
    with pytest.raises(InputError, match=message):
        draw_attention(network, *images, **{"progress": "off"} | settings)


def test_classes_are_numbered_alike_or_refused(digits, network):
    own = subject_of(network)
    names = dataclasses.replace(own, class_names=tuple(reversed(digits.class_names)))
    with pytest.raises(
        InputError, match=r"has other class names than digits, or the same in another order.*class_names="
    ):
        draw_attention(names, digits.test, eps=0.1, progress="off")
    wide = build_model("tiny", image_shape=(16, 16, 1), num_classes=12)
    with pytest.warns(Note, match="has 12 classes without names, the data 10"):
        found = draw_attention(wide, digits.test, attack="clean", eps=0.1, images=range(30), progress="off")
    seen = {axis.get_ylabel().split("→ ")[1] for axis in found.figure.axes if "→" in axis.get_ylabel()}
    assert seen & {"10", "11"}  # classes that the data has no name for
    with pytest.raises(InputError, match=r"`teacher` must have as many classes as the model, 10. Received: 12"):
        draw_attention(network, digits.test, eps=0.1, teacher=wide, progress="off")


def test_a_network_without_a_feature_map_is_refused_with_what_to_type(images):
    stack = [keras.Input((16, 16, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    with pytest.raises(InputError, match=r"`model`: .*`agkd_tf.models.Classifier\(model, features=PATH\)`") as error:
        draw_attention(keras.Sequential(stack), *images, eps=0.1, progress="off")
    assert "defense" not in str(error.value)


def test_a_callable_has_no_maps(images):
    with pytest.raises(InputError, match="`model` must be a Keras network"):
        draw_attention(lambda batch: batch[:, 0, :10, 0], *images, eps=0.1)
