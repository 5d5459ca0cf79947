"""Models and images that differ have digests that differ."""

import dataclasses
import shutil

import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.data import Examples
from agkd_tf.data.image_dataset import ImagesOnDisk
from agkd_tf.evaluation import examples_digest, saved_model_digest


class Scaled(tf.Module):
    """One weight."""

    def __init__(self, weight):
        super().__init__()
        self.weight = tf.Variable(weight)

    @tf.function(input_signature=[tf.TensorSpec([None, 4, 4, 1], tf.float32)])
    def predict(self, images):
        return {"logits": self.weight * tf.reshape(images, [-1, 16])}


def test_saved_models_of_one_program_and_other_weights_differ(tmp_path):
    module = Scaled(1.0)
    for name, weight in (("one", 1.0), ("two", 2.0)):
        module.weight.assign(weight)
        tf.saved_model.save(module, str(tmp_path / name), signatures={"serving_default": module.predict})
    shutil.copy(tmp_path / "one" / "saved_model.pb", tmp_path / "two" / "saved_model.pb")
    assert saved_model_digest(tmp_path / "one") != saved_model_digest(tmp_path / "two")


@pytest.mark.parametrize("name", ["saved_model.pb", "assets/words.txt", "variables/variables.index"])
def test_every_file_that_a_saved_model_computes_by_counts_and_its_place_does_not(tmp_path, name):
    module = Scaled(1.0)
    tf.saved_model.save(module, str(tmp_path / "one"), signatures={"serving_default": module.predict})
    (tmp_path / "one" / "assets" / "words.txt").write_text("a")
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    (tmp_path / "copy" / "fingerprint.pb").unlink()
    assert saved_model_digest(tmp_path / "one") == saved_model_digest(tmp_path / "copy")
    with open(tmp_path / "copy" / name, "ab") as file:
        file.write(b"b")
    assert saved_model_digest(tmp_path / "one") != saved_model_digest(tmp_path / "copy")


@pytest.fixture
def some():
    """2500 images of one pixel: more than are read at once."""
    return Examples((np.arange(2500) % 256).astype(np.uint8).reshape(-1, 1, 1, 1), np.zeros(2500, np.int32))


@pytest.mark.parametrize("place", [0, 1700, 2499])
def test_any_other_image_or_label_is_another_digest(some, place):
    digests = {examples_digest(some)}
    for name in ("images", "labels"):
        array = getattr(some, name).copy()
        array[place] += 1
        digests.add(examples_digest(dataclasses.replace(some, **{name: array})))
    assert len(digests) == 3
    assert examples_digest(some.take(slice(0, 2499))) not in digests


def test_where_images_lie_does_not_matter(some, tmp_path):
    np.save(tmp_path / "images.npy", some.images[::-1])
    source = np.load(tmp_path / "images.npy", mmap_mode="r")
    on_disk = Examples(ImagesOnDisk(source, np.arange(2500)[::-1]), some.labels)
    assert examples_digest(on_disk) == examples_digest(some)
