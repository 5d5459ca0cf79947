"""Whether the processor is used as it could be: what is looked at, what is said, and that numbers stay."""

import json
import os
import pathlib
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import agkd_tf.processor
import tests.networks  # noqa: F401  `tiny`, in a new interpreter, too
from agkd_tf import Undefended
from agkd_tf.attacks import parse_attack
from agkd_tf.evaluation import run_attack
from agkd_tf.models import build_model
from agkd_tf.models.storage import load_classifier
from agkd_tf.processor import (
    ONEDNN_SWITCH,
    SlowProcessorWarning,
    instruction_sets,
    onednn_is_on,
    processor_name,
    warn_of_slow_settings,
)
from agkd_tf.training.recipe_file import write_recipe
from agkd_tf.workdir import Workdir
from tests.processes import run_tool
from tests.trainings import tiny_recipe, train

RECIPE = tiny_recipe("undefended", batch_size=32)
LAPTOP = {"model name": "A laptop", "flags": "fpu sse2 avx avx2 fma"}
SERVER = {"model name": "A server", "flags": "fpu sse2 avx avx2 fma avx512f avx512_vnni avx512_bf16"}


@pytest.fixture
def processor(monkeypatch):
    """Returns processor(cpuinfo, onednn=True): from then on this one computes."""

    def choose(cpuinfo, onednn=True):
        agkd_tf.processor._warn.cache_clear()
        monkeypatch.setattr(agkd_tf.processor, "_cpuinfo", lambda: cpuinfo)
        monkeypatch.setattr(agkd_tf.processor, "onednn_is_on", lambda: onednn)

    return choose


def said(model=None):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_slow_settings(model)
    assert {warning.category for warning in caught} <= {SlowProcessorWarning}
    return [str(warning.message) for warning in caught]


def test_name_and_instructions_are_the_systems(processor):
    processor(SERVER)
    assert processor_name() == "A server"
    assert instruction_sets() == ["avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16"]
    processor({})
    assert processor_name()
    assert instruction_sets() == []


@pytest.mark.parametrize("cpuinfo", [LAPTOP, SERVER], ids=["laptop", "server"])
def test_onednn_that_is_off_is_told_of_with_the_switch(processor, cpuinfo):
    processor(cpuinfo, onednn=False)
    (line,) = said()
    assert said() == []  # once a process
    assert "oneDNN is off" in line
    assert f"set {ONEDNN_SWITCH}=1 in the environment before TensorFlow is imported" in line
    processor(cpuinfo)
    assert said() == []


def test_bfloat16_is_told_of_where_the_processor_has_no_instructions_for_it(processor):
    networks = {
        dtype: build_model("tiny", image_shape=(8, 8, 1), num_classes=3, dtype=dtype)
        for dtype in ("float32", "mixed_bfloat16")
    }
    images = keras.Input((8, 8, 1))
    nested = keras.Model(images, keras.layers.Dense(2)(networks["mixed_bfloat16"](images)))
    processor(LAPTOP)
    assert len(said(nested)) == 1
    processor(LAPTOP)
    (line,) = said(networks["mixed_bfloat16"])
    assert "no instructions for bfloat16" in line
    assert "`mixed_precision='float32'`" in line
    assert said(networks["float32"]) == []
    for other in (SERVER, {}):  # one that has them, one of which nothing is known
        processor(other)
        assert said(networks["mixed_bfloat16"]) == []


def test_beside_an_accelerator_nothing_is_said(processor, monkeypatch):
    processor(LAPTOP, onednn=False)
    devices = [tf.config.PhysicalDevice(f"/physical_device:{kind}:0", kind) for kind in ("CPU", "GPU")]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda *kind: devices)
    assert said() == []


def test_training_and_evaluation_say_it_when_they_begin(processor, fragile):
    network, examples = fragile
    defense = Undefended(network, eps=0.01)
    defense.compile(keras.optimizers.SGD(0.0))
    processor(LAPTOP, onednn=False)
    with pytest.warns(SlowProcessorWarning, match="oneDNN is off"):
        defense.fit(examples.images, examples.labels, batch_size=30, verbose=0)
    processor(LAPTOP, onednn=False)
    with pytest.warns(SlowProcessorWarning, match="oneDNN is off"):
        run_attack(network, examples, parse_attack("clean", eps=0.0))


def test_command_lines_switch_it_on():
    # These tests import TensorFlow as the command lines do; whoever runs them may have switched it off.
    assert os.environ[ONEDNN_SWITCH]
    assert onednn_is_on() == (os.environ[ONEDNN_SWITCH] == "1")


def train_in(folder):
    dataset = RECIPE.load_dataset()
    return train(RECIPE, Workdir(folder), dataset).student.get_weights()


def train_by_both_doors(folder):
    """Trains the recipe by the command line, and in Python."""
    write_recipe(pathlib.Path(folder) / "recipe.flags", RECIPE)
    place = (f"--flagfile={folder}/recipe.flags", f"--workdir={folder}/tool")
    with pytest.raises(SystemExit) as end:
        run_tool("train", *place, "--progress=lines", "--nohints", "--panel_every=0")
    assert not end.value.code
    train_in(f"{folder}/python")


def test_a_users_own_switch_wins_is_told_of_once_and_decides_no_more_than_last_digits(start, tmp_path):
    switch = "0" if onednn_is_on() else "1"
    # A new interpreter, since the switch is looked at when TensorFlow is imported.
    process = start(train_by_both_doors, tmp_path, environment={ONEDNN_SWITCH: switch}, anew=True)
    assert process.wait(300) == 0, process.stderr
    assert f"XLA off, oneDNN {'off' if switch == '0' else 'on'}, float32" in process.stdout
    (environment,) = json.loads((tmp_path / "tool" / "environment.json").read_text())
    assert environment["onednn"] == (switch == "1")
    assert environment["instruction_sets"] == instruction_sets()
    assert len(process.slow_settings) == (switch == "0"), process.slow_settings
    doors = [load_classifier("workdir", tmp_path / door).get_weights() for door in ("python", "tool")]
    for ours, one, other in zip(train_in(tmp_path / "here"), *doors, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(ours, one, atol=1e-3)
