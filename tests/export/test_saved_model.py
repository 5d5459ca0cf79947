"""The exported model answers as the network does, without this project."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.attention import class_irrelevant_map
from agkd_tf.errors import InputError
from agkd_tf.export import export_saved_model
from agkd_tf.models import Classifier, build_model

READ = """
import sys, numpy as np, tensorflow as tf
signature = tf.saved_model.load(sys.argv[1]).signatures["serving_uint8"]
images = np.load(sys.argv[2])
np.savez(sys.argv[3], **{k: v.numpy() for k, v in signature(images=tf.constant(images)).items()})
assert not any(name.split(".")[0] in ("agkd_tf", "cleverhans") for name in sys.modules)
"""


def test_it_equals_predict_for_any_batch_size_and_both_signatures(digits, tiny_model, tmp_path):
    export_saved_model(tiny_model, tmp_path / "saved")
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    for count in (1, 7):
        images = digits.test.images[:count]
        scaled = images.astype(np.float32) / 255
        expected = tiny_model.predict(scaled, verbose=0)
        seen = Classifier(tiny_model)(scaled)
        for name, batch in (("serving_default", scaled), ("serving_uint8", images)):
            outputs = loaded.signatures[name](images=tf.constant(batch))
            np.testing.assert_allclose(outputs["logits"], expected, atol=1e-5)
            np.testing.assert_allclose(outputs["probabilities"], tf.nn.softmax(expected), atol=1e-5)
            np.testing.assert_allclose(outputs["embedding"], seen.embedding, atol=1e-5)
            np.testing.assert_allclose(outputs["attention"], class_irrelevant_map(seen.features), atol=1e-4)


@pytest.mark.slow
def test_a_second_model_takes_the_place_of_the_first(digits, tiny_model, tmp_path):
    other = build_model("wrn-10-1", image_shape=(16, 16, 1), num_classes=10, seed=1)
    for model in (tiny_model, other):
        export_saved_model(model, tmp_path / "saved")
    scaled = digits.test.images[:3] / np.float32(255)
    served = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"](images=tf.constant(scaled))
    np.testing.assert_allclose(served["logits"], other.predict(scaled, verbose=0), atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_a_place_that_cannot_be_written_is_told_by_the_system(tiny_model, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):  # which tools end in one line
        export_saved_model(tiny_model, tmp_path / "file" / "saved")


def test_a_process_with_only_tensorflow_reads_it(digits, tiny_model, tmp_path):
    export_saved_model(tiny_model, tmp_path / "saved")
    np.save(tmp_path / "images.npy", digits.test.images[:3])
    paths = [str(tmp_path / name) for name in ("saved", "images.npy", "out.npz")]
    subprocess.run([sys.executable, "-c", READ, *paths], check=True, cwd=tmp_path, capture_output=True)
    expected = tiny_model.predict(digits.test.images[:3] / np.float32(255), verbose=0)
    np.testing.assert_allclose(np.load(paths[2])["logits"], expected, atol=1e-5)


def test_a_folder_of_something_else_is_not_replaced(tiny_model, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="`folder` exists and is not a SavedModel"):
        export_saved_model(tiny_model, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
