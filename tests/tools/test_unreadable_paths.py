"""Paths that may not be read: one line that names them, and exit code 2."""

import contextlib
import os

import pytest
import tensorflow_datasets  # noqa: F401  # before its own files may be out of reach

from agkd_tf.data import load_dataset
from agkd_tf.evaluation import EvaluationRecord, open_adversaries, saved_model_logits
from agkd_tf.models.storage import load_classifier
from agkd_tf.training import Recipe, train
from agkd_tf.workdir import Workdir
from tools import _app, _flags

NOBODY = 65534
READERS = {
    "a flagfile": lambda folder: _flags.read_flagfile(folder / "flags.txt"),
    "a teacher": lambda folder: load_classifier("teacher", folder / "student.keras"),
    "images": lambda folder: load_dataset(f"image_folder:{folder}"),
    "an archive": lambda folder: load_dataset("tiny_imagenet", manual_dir=str(folder)),
    "a prepared data set": lambda folder: load_dataset("cifar10", data_dir=str(folder)),
    "a SavedModel": saved_model_logits,
    "an evaluation": lambda folder: EvaluationRecord(folder / "evaluation.json", {}, {}),
    "adversaries": lambda folder: open_adversaries(folder / "pgd.npy", {}),
    "a run": lambda folder: train(RECIPE, Workdir(folder), DIGITS, verbose=0, panel_every=0),
}
RECIPE = Recipe(model="wrn-10-1", defense="undefended", train_examples=64, validation_examples=20, batch_size=32)
DIGITS = RECIPE.load_dataset()


@contextlib.contextmanager
def without_rights():
    """Within, this process may read what everybody may; for root, whom no permission stops, as somebody else."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("name", READERS)
def test_what_may_not_be_read_is_one_line(name, tmp_path, capsys):
    folder = tmp_path / "verschlossen, ü"
    for part in ("train", "checkpoints"):
        (folder / part).mkdir(parents=True)
    folder.chmod(0)
    with without_rights(), pytest.raises(SystemExit, match="2"):
        _app.call(lambda argv: READERS[name](folder), [])
    folder.chmod(0o700)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert str(folder) in line
