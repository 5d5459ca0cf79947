"""A worker that is gone ends the training of the other, which goes on from its last checkpoint."""

import json

import pytest

from agkd_tf.training.checkpoints import checkpoint_paths
from tests.processes import cluster, run_tool, wait_for


@pytest.mark.parametrize("killed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_killed_worker_stops_the_other_with_one_line_and_the_same_command_continues(tmp_path, small, start, killed):
    """The first one, too, which writes the run and has TensorFlow's coordination service."""
    run = tmp_path / "run"
    flags = [*small, "--defense=at", f"--workdir={run}", "--distribution=multi_worker", "--progress=lines"]

    def start_workers(epochs):
        return [
            start(run_tool, "train", *flags, f"--epochs={epochs}", environment={"TF_CONFIG": json.dumps(worker)})
            for worker in cluster(2)
        ]

    workers, left = start_workers(10000), 1 - killed
    wait_for((run / "checkpoints" / "checkpoint").is_file, workers[0])
    workers[killed].kill()
    assert workers[left].wait(200) == 1
    (line,) = (line for line in workers[left].stderr.splitlines() if line.startswith("error: "))
    assert "another worker no longer responds" in line
    assert "Traceback" not in workers[left].stderr
    finished = int(checkpoint_paths(run / "checkpoints")[0].rpartition("-")[2]) // 2  # an epoch is two steps
    recorded = run / "flags.txt"
    recorded.write_text(recorded.read_text().replace("--epochs=10000", f"--epochs={finished}"))
    workers = start_workers(finished + 1)
    assert [worker.wait(200) for worker in workers] == [0, 0], workers[0].stderr
    assert f"continued after epoch {finished}" in workers[0].stdout
