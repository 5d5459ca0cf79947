import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorboard.plugins import projector

from agkd_tf.monitoring import write_projector


def test_tensorboard_finds_embeddings_labels_and_thumbnails(tmp_path):
    folder = tmp_path / "a run"
    embeddings = np.arange(15, dtype=np.float32).reshape(5, 3) / 7
    images = np.arange(5, dtype=np.float32)[:, None, None, None] / 4 * np.ones((5, 4, 6, 1), np.float32)
    write_projector(folder, "points", embeddings, images, {"class": list("abcde"), "kind": ["x\ty"] * 5})
    config = projector.ProjectorConfig()
    text_format.Parse((folder / "projector_config.pbtxt").read_text(), config)
    (entry,) = config.embeddings
    assert list(folder.glob("*tfevents*"))  # without which TensorBoard does not look
    np.testing.assert_allclose(np.loadtxt(folder / entry.tensor_path, delimiter="\t"), embeddings, rtol=1e-4)
    lines = (folder / entry.metadata_path).read_text().splitlines()
    assert lines[0] == "class\tkind"
    assert [line[0] for line in lines[1:]] == list("abcde")
    sprite = tf.io.decode_png((folder / entry.sprite.image_path).read_bytes()).numpy()
    width, height = entry.sprite.single_image_dim
    assert (width, height) == (6, 4)
    assert sprite.shape == (3 * 4, 3 * 6, 3)
    tiles = sprite.reshape(3, 4, 3, 6, 3).swapaxes(1, 2).reshape(9, 4, 6, 3)
    np.testing.assert_array_equal(tiles[:5], np.round(images * 255).astype(np.uint8) * np.ones(3, np.uint8))
    assert not tiles[5:].any()


def test_large_sets_get_smaller_thumbnails(tmp_path, monkeypatch):
    monkeypatch.setattr("agkd_tf.monitoring.projector.SPRITE_SIDE", 20)
    write_projector(
        tmp_path, "points", np.zeros((30, 2)), np.ones((30, 8, 8, 3), np.float32), {"a": [""] * 30, "b": [""] * 30}
    )
    assert tf.io.decode_png((tmp_path / "points.png").read_bytes()).shape == (18, 18, 3)
