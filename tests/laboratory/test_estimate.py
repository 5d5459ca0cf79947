"""The estimate beside the full attack, counted."""

import json

import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.attacks import APGD, Ball, bound
from agkd_tf.data import Examples
from agkd_tf.errors import InputError
from tools.laboratory.counted_attacks import CountedAttacks
from tools.laboratory.passes import Passes

WEIGHTS = tf.constant(np.random.default_rng(0).normal(size=(12, 3)), tf.float32)
IMAGES = np.random.default_rng(1).integers(80, 180, (12, 2, 2, 3)).astype(np.uint8)


def linear(images):
    return tf.reshape(images, [-1, 12]) @ WEIGHTS


EXAMPLES = Examples(IMAGES, np.argmax(linear(IMAGES / np.float32(255)), 1).astype(np.int32))
ATTACK = bound(APGD(steps=5), Ball("linf", 0.1))


class StoppedError(Exception):
    """Stops an attack after a batch."""


def test_what_is_kept_is_not_done_again_and_an_interrupted_count_goes_on(tmp_path):
    def attacks(folder, progress=lambda title: None, examples=EXAMPLES, **settings):
        return CountedAttacks(tmp_path / folder, linear, examples, batch_size=4, progress=progress, **settings)

    def stopping(title):
        def show(part, variant, done, total):
            if done == 8 and part.name == ATTACK.attacks[-1].name:
                raise StoppedError

        return show

    whole = attacks("whole")
    expected = whole.run("one", ATTACK)
    with pytest.raises(StoppedError):
        attacks("parts", stopping).run("one", ATTACK)
    again = attacks("parts")
    np.testing.assert_array_equal(again.run("one", ATTACK).state, expected.state)
    # Each sitting begins with a look at 8 images: three times forward, and once back.
    once = whole.passes("one")
    assert again.passes("one") == Passes(once.forward + 24, once.backward + 8)
    passes = again.passes("one")
    assert attacks("parts").run("one", ATTACK).finished(len(ATTACK.stages))
    assert attacks("parts").passes("one") == passes
    assert attacks("parts").passes("another") == (0, 0)
    for other, settings in {
        "images": {"examples": EXAMPLES.take(slice(0, 6))},
        "seed": {"seed": 1},
        "network": {"of": {"network": "1"}},
    }.items():
        with pytest.raises(InputError, match=f"parts has outcomes of another {other}, .*: give another folder"):
            attacks("parts", **settings)


@pytest.mark.slow
def test_the_command_says_what_both_find_and_at_what_cost(tool, workdir, tmp_path):
    flags = [f"--workdirs={workdir}", "--num_examples=6", "--precision=20", f"--output={tmp_path}/estimate"]
    shown = [tool("laboratory.estimate", *flags) for _ in range(2)]
    assert [(each.returncode, each.stderr) for each in shown] == [(0, ""), (0, "")]
    (row,) = (tmp_path / "estimate" / "estimate.md").read_text().splitlines()[2:]
    assert row in shown[0].stdout
    name, images, *_ = (cell.strip() for cell in row.strip("|").split("|"))
    assert (name, images) == ("run", "6")
    passes = json.loads((tmp_path / "estimate" / "run" / "passes.json").read_text())
    assert passes["passes"].keys() == {"cheap", "sample", "autoattack"}


def test_bad_flags_are_one_line(tool, workdir, tmp_path):
    found = tool("laboratory.estimate", f"--workdirs={workdir}", f"--output={tmp_path}/x", "--num_examples=401")
    assert (found.returncode, found.stderr) == (2, "error: `num_examples` must be at most 400. Received: 401\n")
    found = tool("laboratory.estimate", "--workdirs=x")
    assert found.returncode == 2
    assert found.stderr.splitlines() == [
        "error: `workdirs` and `output` are needed: --workdirs=RUN,RUN --output=FOLDER"
    ]
