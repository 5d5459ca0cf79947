"""An evaluation that is killed again and again ends with the numbers of one that never was."""

import json
import signal

import keras
import numpy as np
import pytest
from keras import layers

from tests.processes import run_tool, wait_for

KEYS = [f"{name} [linf 0.1, first 60]" for name in ("pgd-10x3", "apgd-ce")]


@pytest.fixture
def classifier(digits, tmp_path):
    """A .keras file of a linear classifier that sees most digits right."""
    model = keras.Sequential([keras.Input((16, 16, 1)), layers.Flatten(), layers.Dense(10)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(digits.train.images / np.float32(255), digits.train.labels, epochs=10, verbose=0)
    model.save(tmp_path / "linear.keras")
    return tmp_path / "linear.keras"


def test_an_evaluation_that_is_killed_again_and_again_ends_with_the_same_outcome_of_each_image(
    classifier, tmp_path, start, tool
):
    def command(name):
        record = tmp_path / name / "evaluation.json"
        flags = (
            f"--model_file={classifier}",
            "--dataset=digits",
            "--num_examples=60",
            "--eps=0.1",
            f"--record={record}",
        )
        return (*flags, "--attacks=pgd-10x3,apgd-ce", "--batch_size=1", f"--adversaries={tmp_path / name}")

    arrays = tmp_path / "killed" / "evaluation.npz"

    def done(key):
        """Returns how often an attack has been at an image."""
        if not arrays.exists():
            return 0
        with np.load(arrays) as outcomes:
            return int(np.abs(outcomes.get(f"{key}/state", 0)).sum())

    # By what is done and not by the clock, so that no machine is too fast: at the first attack's first images, at those
    # that it had to start at again, and in the second attack.
    for key, count in ((KEYS[0], 20), (KEYS[0], 65), (KEYS[1], 10)):
        process = start(run_tool, "evaluate", *command("killed"), "--progress=off")
        wait_for(lambda key=key, count=count: done(key) >= count, process)
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
        finished = json.loads(arrays.with_suffix(".json").read_text())["attacks"]
        assert KEYS[1] not in finished, f"killed too late for {key}, {count}"
        (arrays.parent / ".4711.evaluation.npz").write_bytes(b"half")  # as a kill leaves it that comes during a write
    for name in ("killed", "unbroken"):
        found = tool("evaluate", *command(name))
        assert found.returncode == 0, found.stderr
    assert not list(arrays.parent.glob(".*"))
    ours, its = (np.load(tmp_path / name / "evaluation.npz") for name in ("killed", "unbroken"))
    assert set(ours.files) == set(its.files)
    for key in KEYS:
        assert len(np.unique(its[f"{key}/state"])) > 1
        for part in ("label", "state", "prediction"):
            np.testing.assert_array_equal(ours[f"{key}/{part}"], its[f"{key}/{part}"])
    results = [
        json.loads((tmp_path / name / "evaluation.json").read_text())["attacks"] for name in ("killed", "unbroken")
    ]
    for key in KEYS:
        for part in ("accuracy", "broken_by", "num_examples"):
            assert results[0][key][part] == results[1][key][part]
    verified = tool("evaluate", *command("killed"), "--verify")
    assert verified.returncode == 0, verified.stderr
