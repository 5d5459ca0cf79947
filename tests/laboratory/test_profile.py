import collections

import pytest
import tensorflow as tf

import tools.laboratory.profile
from agkd_tf.errors import InputError
from agkd_tf.training import Recipe
from tools.laboratory.profile import KINDS, OTHERS, StepProfile

RECIPE = Recipe(
    model="wrn-10-1",
    defense="agkd_bml",
    batch_size=8,
    epochs=1,
    decay_epochs=(),
    hyperparameters={"attack_steps": 2},
)


def test_each_operation_of_a_step_is_found_once_and_under_its_kind(digits, monkeypatch):
    profile = StepProfile(RECIPE, digits)
    operations, seconds = [], 0.25
    profiled = tools.laboratory.profile._profiled

    def noting(call, steps):
        found, _ = profiled(call, steps)
        operations.append([(*each, 1e-6) for *each, _ in found])
        return operations[-1], seconds

    monkeypatch.setattr(tools.laboratory.profile, "_profiled", noting)
    found = profile.run(1)
    counts = {kind: round(1e6 * taken) for kind, taken in found.items()}
    assert list(counts) == [*KINDS, *OTHERS]
    convolutions = 9  # of WRN-10-1: the first, two in each of three blocks, and two shortcuts
    # Passes forward: for the confusing class, of each step of the attack, the teacher's, the student's.
    assert counts["convolutions"] == convolutions * (1 + 2 + 1 + 1)
    # The student's gradient needs none by the images.
    assert counts["by input"] == convolutions * (2 + 1) - 1
    assert counts["by kernel"] == convolutions
    frozen = collections.Counter(name for node, name, _ in operations[0] if "frozen_batch_normalization" in node)
    assert frozen["Mul"] >= 7 * 2  # of the attack's two gradients
    assert counts["batch normalization"] >= 7 * (1 + 2 + 1 + 2) + frozen["Mul"]
    assert min(counts[kind] for kind in ("activations", "matrix products", "rest")) > 0
    assert counts["optimizer"] == len(operations[1]) > 2 * len(profile._defense.student.trainable_variables)
    assert sum(found.values()) == pytest.approx(2 * seconds)


@pytest.mark.slow
def test_the_time_is_that_of_a_step(digits):
    profile = StepProfile(RECIPE, digits)
    one, three = profile.run(1), profile.run(3)
    assert min(one[kind] for kind in (*KINDS, "optimizer", "rest")) > 0
    # The sum over three steps would be three times as much.
    assert sum(three.values()) < 2 * sum(one.values())


def test_a_gpu_whose_operations_would_be_missing_is_refused(digits, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    with pytest.raises(InputError, match="`profile` covers only operations on the CPU"):
        StepProfile(RECIPE, digits)
