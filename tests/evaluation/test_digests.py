"""Models that differ have digests that differ."""

import shutil

import pytest
import tensorflow as tf

from agkd_tf.evaluation import saved_model_digest


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
