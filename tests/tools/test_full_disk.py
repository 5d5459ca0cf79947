"""A disk that is full, or that may not be written to: one line at the earliest moment, and nothing that was is lost."""

import contextlib
import os
import shutil
import subprocess

import pytest
import tensorflow as tf

from agkd_tf import InputError
from agkd_tf.evaluation import create_adversaries
from agkd_tf.training.checkpoints import checkpoint_paths
from agkd_tf.workdir import Workdir
from tests.processes import run_tool, wait_for
from tools import _app

FLAGS = ("--defense=at", "--nohints", "--progress=off")


@pytest.fixture
def disk(tmp_path):
    """Returns a context manager (options) of a small disk of its own; skips where none can be mounted."""

    @contextlib.contextmanager
    def mounted(options):
        folder = tmp_path / "disk"
        folder.mkdir(exist_ok=True)
        if not shutil.which("mount"):
            pytest.skip("no mount command here")
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"a disk cannot be mounted here: {made.stderr.strip()}")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)

    return mounted


def refused(result, expected):
    assert expected in result.stderr, result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    return result.returncode


def test_a_disk_without_room_is_refused_before_training(disk, tool, small):
    with disk("size=16k") as folder:
        result = tool("train", *small, *FLAGS, f"--workdir={folder}/run")
        assert refused(result, "the checkpoints need") == 2
        assert not (folder / "run" / "checkpoints").exists() or not checkpoint_paths(folder / "run" / "checkpoints")


@pytest.mark.slow
def test_a_disk_that_fills_up_in_the_middle_keeps_the_checkpoint_and_training_goes_on(disk, tool, small, start):
    with disk("size=16m") as folder:
        run = Workdir(folder / "run")
        arguments = [*small, *FLAGS, "--epochs=400", f"--workdir={run.path}"]
        process = start(run_tool, "train", *arguments)
        filler = folder / "filler"
        wait_for(lambda: run.history.exists() and len(run.history.read_text().splitlines()) > 3, process)
        with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(os.urandom(2**16))
        process.wait(200)
        assert refused(process, "No space left") == 2
        filler.unlink()
        done = int(checkpoint_paths(run.checkpoints)[0].rpartition("-")[2]) // 2
        assert done >= 2
        again = tool("train", *small, *FLAGS, f"--epochs={done + 2}", f"--workdir={run.path}")
        assert refused(again, "may grow but not shrink") == 2  # it is a run of 400 epochs
        run.flags.write_text(run.flags.read_text().replace("--epochs=400", f"--epochs={done + 2}"))
        again = tool("train", *small, *FLAGS, f"--epochs={done + 2}", f"--workdir={run.path}")
        assert again.returncode == 0, again.stderr
        assert run.student.exists()


def test_a_disk_without_room_for_adversaries_is_one_line_and_leaves_nothing(disk):
    with disk("size=1m") as folder:
        with pytest.raises(InputError, match=r"pgd.npy: 5 MiB cannot be written: No space left on device"):
            create_adversaries(folder / "pgd.npy", (400, 32, 32, 3), {})
        assert list(folder.iterdir()) == []


def test_a_full_disk_that_tensorflow_finds_is_one_line(disk, capsys):
    variable = tf.Variable(tf.zeros(2**19))
    with disk("size=1m") as folder, pytest.raises(SystemExit, match="2"):
        _app.call(lambda argv: tf.train.Checkpoint(large=variable).write(f"{folder}/state"), [])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {folder}/state")
    assert line.endswith(": No space left on device")


def test_a_lack_of_memory_is_no_full_disk():
    def raises(argv):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    with pytest.raises(tf.errors.ResourceExhaustedError):
        _app.call(raises, [])


def test_a_folder_that_may_not_be_written_to_is_refused_before_training(disk, tool, small):
    with disk("size=16m") as folder:
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        result = tool("train", *small, *FLAGS, f"--workdir={folder}/run")
        assert refused(result, "Read-only file system") == 2
