"""A worker that is gone ends the training of the other, which goes on from its last checkpoint."""

import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_killed_worker_stops_the_other_with_one_line_and_the_same_command_continues(tmp_path, small, free_ports):
    run, outputs = tmp_path / "run", [tmp_path / f"worker_{index}.txt" for index in range(2)]
    command = [sys.executable, "-m", "tools.train", *small, "--defense=at", f"--workdir={run}"]
    command += ["--distribution=multi_worker", "--progress=lines"]

    def start(epochs):
        cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
        workers = []
        for index, output in enumerate(outputs):
            worker = {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})}
            with output.open("w") as file:
                workers.append(
                    subprocess.Popen(
                        [*command, f"--epochs={epochs}"],
                        cwd=ROOT,
                        env=os.environ | worker,
                        stdout=file,
                        stderr=subprocess.STDOUT,
                    )
                )
        return workers

    chief, other = start(10000)
    try:
        wait_for(lambda: (run / "checkpoints" / "checkpoint").is_file(), chief)
        other.kill()
        assert chief.wait(timeout=200) == 1
    finally:
        chief.kill()
        other.kill()
    said = outputs[0].read_text()
    (line,) = (line for line in said.splitlines() if line.startswith("error: "))
    assert "another worker does not answer any more" in line
    assert "Traceback" not in said
    finished = len((run / "history.csv").read_text().splitlines()) - 1
    flags = (run / "flags.txt").read_text().replace("--epochs=10000", f"--epochs={finished}")
    (run / "flags.txt").write_text(flags)
    workers = start(finished + 1)
    assert [worker.wait(timeout=200) for worker in workers] == [0, 0], outputs[0].read_text()
    assert f"continued after epoch {finished}" in outputs[0].read_text()


def wait_for(condition, process, seconds=200):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the training ended early"
        assert time.monotonic() < end
        time.sleep(0.1)
