"""A training that is killed again and again ends as one that never was."""

import csv
import signal

import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.models.storage import load_classifier
from agkd_tf.training.checkpoints import checkpoint_paths
from agkd_tf.workdir import Workdir
from tests.training.killed_training import killed_training

FLAGS = (
    "--train_examples=128",
    "--validation_examples=200",
    "--model=tiny",
    "--batch_size=16",
    "--decay_epochs=3",
    "--eps=38/255",
    "--validation_attack_steps=1",
    "--panel_every=0",
    "--deterministic",
    "--checkpoint_every_minutes=0.0001",
    "--progress=off",
)
RUNS = {
    "agkd_bml": ("--defense=agkd_bml", "--ema=0.9", "--epochs=6", "--teacher_epochs=1", "--teacher_decay_epochs="),
    "cat_mix": ("--defense=cat_mix", "--eps=19/255", "--ema=0.9", "--epochs=5", "--attack_steps=1"),
}
MOMENTS = ["step", "checkpoint", "validation", "edge"]
# The moments when each run is killed, and how many of the first at least hit its teacher's training: five do, the fifth
# at its end, where each is cut short in time.
KILLS = {"cat_mix": (["checkpoint", "edge"], 0), "agkd_bml": ([*MOMENTS, "edge", *MOMENTS], 4)}


def state(folder):
    """Returns what the newest checkpoint holds, by name; running means of an unfinished epoch are of no use."""
    reader = tf.train.load_checkpoint(checkpoint_paths(Workdir(folder).checkpoints)[0])
    names = [name for name in reader.get_variable_to_shape_map() if not name.startswith(("means/", "save_counter"))]
    return {name: reader.get_tensor(name) for name in names if name != "_CHECKPOINTABLE_OBJECT_GRAPH"}


def curves(folder):
    """Returns what TensorBoard shows: (curve, tag, step) -> value; of a point that was written twice, the last."""
    points = {}
    for file in sorted(Workdir(folder).tensorboard.rglob("events*"), key=lambda path: path.stat().st_mtime_ns):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                array = tf.make_ndarray(value.tensor)
                if array.dtype == np.float32 and array.shape == () and "images_per_second" not in value.tag:
                    points[file.parent.name, value.tag, event.step] = float(array)
    return points


def history(folder):
    """Returns epoch -> what its line says; of an epoch that was done twice, the last."""
    with open(Workdir(folder).history, encoding="utf-8", newline="") as file:
        lines = {line["epoch"]: line for line in csv.DictReader(file)}
    return {epoch: line | {"images_per_second": None} for epoch, line in lines.items()}


@pytest.mark.parametrize("name", ["cat_mix", pytest.param("agkd_bml", marks=pytest.mark.slow)])
def test_a_training_that_is_killed_again_and_again_ends_with_the_same_bits(tmp_path, start, tool, name):
    killed, unbroken, log = tmp_path / "killed", tmp_path / "unbroken", tmp_path / "log.txt"
    moments, of_teachers = KILLS[name]
    flags, teachers = (*FLAGS, *RUNS[name]), 0
    for number, moment in enumerate(moments):
        process = start(killed_training, log, moment, number, *flags, f"--workdir={killed}")
        assert process.wait(300) == -signal.SIGKILL, f"{moment}: the training ended before it came: {process.stderr}"
        of_teacher = name == "agkd_bml" and not checkpoint_paths(Workdir(killed).checkpoints)
        teachers += of_teacher
        print("teacher," if of_teacher else "student,", log.read_text().splitlines()[-1])
    assert teachers >= of_teachers
    assert [line.partition(":")[0] for line in log.read_text().splitlines()] == moments
    for folder in (killed, unbroken):
        trained = tool("train", *flags, f"--workdir={folder}")
        assert (trained.returncode, trained.stderr) == (0, "")
    folders = [(killed, unbroken)]
    if name == "agkd_bml":
        folders.insert(0, (killed / "teacher", unbroken / "teacher"))
    for ours, its in folders:
        found, expected = state(ours), state(its)
        assert found.keys() == expected.keys()
        for key in expected:
            np.testing.assert_array_equal(found[key], expected[key], err_msg=key)
        assert curves(ours) == curves(its)
        assert len(curves(its)) > 5
        assert history(ours) == history(its)
        # The moving average of its weights.
        weights = [load_classifier("workdir", folder).get_weights() for folder in (ours, its)]
        for one, other in zip(*weights, strict=True):
            np.testing.assert_array_equal(one, other)
    if name != "agkd_bml":
        assert any("example_eps" in key and found[key].max() > 0 for key in found)
