"""A worker that is gone ends the training of the other, which goes on from its last checkpoint."""

import json
import os
import subprocess
import sys

import pytest

from agkd_tf.training.checkpoints import checkpoint_paths
from tests.processes import cluster, wait_for


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_worker_stops_the_other_with_one_line_and_the_same_command_continues(tmp_path, small, start, killed):
    """The first one, too, which writes the run and has TensorFlow's coordination service."""
    run, outputs = tmp_path / "run", [tmp_path / f"worker_{index}.txt" for index in range(2)]
    command = [sys.executable, "-m", "tools.train", *small, "--defense=at", f"--workdir={run}"]
    command += ["--distribution=multi_worker", "--progress=lines"]

    def start_workers(epochs):
        workers = []
        for worker, output in zip(cluster(2), outputs, strict=True):
            environment = os.environ | {"TF_CONFIG": json.dumps(worker)}
            with output.open("w") as file:
                workers.append(
                    start(*command, f"--epochs={epochs}", env=environment, stdout=file, stderr=subprocess.STDOUT)
                )
        return workers

    workers, left = start_workers(10000), 1 - killed
    wait_for((run / "checkpoints" / "checkpoint").is_file, workers[0])
    workers[killed].kill()
    assert workers[left].wait(timeout=200) == 1
    said = outputs[left].read_text()
    (line,) = (line for line in said.splitlines() if line.startswith("error: "))
    assert "another worker does not answer any more" in line
    assert "Traceback" not in said
    finished = int(checkpoint_paths(run / "checkpoints")[0].rpartition("-")[2]) // 2  # an epoch is two steps
    flags = (run / "flags.txt").read_text().replace("--epochs=10000", f"--epochs={finished}")
    (run / "flags.txt").write_text(flags)
    workers = start_workers(finished + 1)
    assert [worker.wait(timeout=200) for worker in workers] == [0, 0], outputs[0].read_text()
    assert f"continued after epoch {finished}" in outputs[0].read_text()
