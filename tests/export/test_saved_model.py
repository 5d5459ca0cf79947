"""The exported model answers as the network does, without this project."""

import subprocess
import sys

import numpy as np
import tensorflow as tf

from agkd_tf.export import export_saved_model

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
        for name, batch in (("serving_default", scaled), ("serving_uint8", images)):
            outputs = loaded.signatures[name](images=tf.constant(batch))
            np.testing.assert_allclose(outputs["logits"], expected, atol=1e-5)
            np.testing.assert_allclose(outputs["probabilities"], tf.nn.softmax(expected), atol=1e-5)
            assert outputs["embedding"].shape == (count, 64)
            assert outputs["attention"].shape == (count, 4, 4)


def test_a_process_with_only_tensorflow_reads_it(digits, tiny_model, tmp_path):
    export_saved_model(tiny_model, tmp_path / "saved")
    np.save(tmp_path / "images.npy", digits.test.images[:3])
    paths = [str(tmp_path / name) for name in ("saved", "images.npy", "out.npz")]
    subprocess.run([sys.executable, "-c", READ, *paths], check=True, cwd=tmp_path, capture_output=True)
    expected = tiny_model.predict(digits.test.images[:3] / np.float32(255), verbose=0)
    np.testing.assert_allclose(np.load(paths[2])["logits"], expected, atol=1e-5)
