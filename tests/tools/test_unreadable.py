"""What may not be read is one line and exit code 2."""

import contextlib
import os
import pathlib
import shutil
import tempfile

import keras
import numpy as np
import pytest

from agkd_tf import InputError
from agkd_tf.data import load_dataset
from agkd_tf.evaluation import EvaluationRecord, open_adversaries, saved_model_logits
from agkd_tf.models.storage import load_classifier
from agkd_tf.training import has_begun
from agkd_tf.training.recipe_file import read_recipe
from tools import _app

NOBODY = 65534


FOLDERS = {
    "data folder": lambda path: load_dataset("cifar10", data_dir=str(path)),
    "folder of archives": lambda path: load_dataset("tiny_imagenet", manual_dir=str(path)),
    "SavedModel": saved_model_logits,
    "adversaries": lambda path: open_adversaries(path / "pgd.npy", {}),
    "checkpoints": has_begun,  # what cannot be looked at is no training that never began
}


@pytest.fixture
def folder():
    """A folder in which a user without rights may look around; pytest's own are closed to others."""
    path = pathlib.Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    for each in path.rglob("*"):
        each.chmod(0o755)
    shutil.rmtree(path)


@contextlib.contextmanager
def without_rights():
    """Within, permission bits count, for who is root as well."""
    root = os.geteuid() == 0
    if root:
        try:
            os.seteuid(NOBODY)
        except OSError as error:
            pytest.skip(f"rights cannot be given up here: {error}")
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def written(folder, name):
    """Writes what a reader of that name would read; returns the path to close, and a call that reads it."""
    if name == "classifier":
        path = folder / "model.keras"
        keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)]).save(path)
        return path, lambda: load_classifier("teacher", path)
    if name == "recipe":
        path = folder / "flags.txt"
        path.write_text("--defense=at\n")
        return path, lambda: read_recipe(path)
    if name == "evaluation":
        path = folder / "evaluation.json"
        path.write_text("{}")
        return path, lambda: EvaluationRecord(path, {}, {"name": "test", "sha256": ""})
    if name in FOLDERS:
        path = folder / "closed"
        path.mkdir()
        return path, lambda: FOLDERS[name](path)
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            (folder / split / label).mkdir(parents=True)
            keras.utils.save_img(folder / split / label / "1.png", np.zeros((8, 8, 3)), scale=False)
    path = folder / "train" / "cat"
    return (path / "1.png" if name == "image" else path), lambda: load_dataset(f"image_folder:{folder}")


@pytest.mark.parametrize("name", ["classifier", "recipe", "evaluation", "image", "image folder", *FOLDERS])
def test_what_may_not_be_read_is_one_line(folder, capfd, name):
    path, read = written(folder, name)
    with contextlib.suppress(InputError):
        read()  # imports what is imported late, which may lie where others may not look
    path.chmod(0)
    with without_rights(), pytest.raises(SystemExit, match="2"):
        _app.call(lambda argv: read(), [])
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert path.name in lines[0] or path.parent.name in lines[0], lines
