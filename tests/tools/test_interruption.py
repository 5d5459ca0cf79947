"""Who asks a training to stop is told how to go on."""

import shlex
import signal

import pytest

from agkd_tf.training.checkpoints import checkpoint_paths
from agkd_tf.workdir import Workdir
from tests.processes import run_tool, wait_for


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_stopped_training_is_saved_and_names_the_command_that_continues(tmp_path, small, start, number):
    run = Workdir(tmp_path / "mit Abstand" / "run")
    arguments = [*small, "--defense=at", "--epochs=1000", "--progress=off", f"--workdir={run.path}"]
    process = start(run_tool, "train", *arguments)
    wait_for(lambda: checkpoint_paths(run.checkpoints), process)
    process.send_signal(number)
    assert process.wait(120) == 75, process.stderr
    (line,) = process.stderr.strip().splitlines()
    assert line.startswith(f"stopped by {number.name} after ")
    said = shlex.split(line.partition("to continue: ")[2])
    assert said == ["python", "-m", "tools.train", *arguments]
    saved = checkpoint_paths(run.checkpoints)[0]
    # The command goes on; it is stopped again, further on.
    process = start(run_tool, "train", *said[3:])
    wait_for(lambda: checkpoint_paths(run.checkpoints)[0] != saved, process)
    process.send_signal(number)
    assert process.wait(120) == 75
    steps = [int(path.rpartition("-")[2]) for path in (checkpoint_paths(run.checkpoints)[0], saved)]
    assert steps[0] > steps[1]
