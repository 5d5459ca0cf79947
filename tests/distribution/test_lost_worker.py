"""A worker that is gone ends the training of the other, which goes on from its last checkpoint."""

import json
import os
import subprocess
import sys

import pytest

from tests.processes import cluster, wait_for


@pytest.mark.slow
def test_a_killed_worker_stops_the_other_with_one_line_and_the_same_command_continues(tmp_path, small, start):
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

    chief, other = start_workers(10000)
    wait_for((run / "checkpoints" / "checkpoint").is_file, chief)
    other.kill()
    assert chief.wait(timeout=200) == 1
    said = outputs[0].read_text()
    (line,) = (line for line in said.splitlines() if line.startswith("error: "))
    assert "another worker does not answer any more" in line
    assert "Traceback" not in said
    finished = len((run / "history.csv").read_text().splitlines()) - 1
    flags = (run / "flags.txt").read_text().replace("--epochs=10000", f"--epochs={finished}")
    (run / "flags.txt").write_text(flags)
    workers = start_workers(finished + 1)
    assert [worker.wait(timeout=200) for worker in workers] == [0, 0], outputs[0].read_text()
    assert f"continued after epoch {finished}" in outputs[0].read_text()
