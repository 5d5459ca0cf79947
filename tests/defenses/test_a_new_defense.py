"""A defense in one file and one line: its settings are checks, config, flags and help without any other word."""

import sys

import keras
import pytest

from agkd_tf.defenses import DEFENSES
from agkd_tf.errors import InputError
from agkd_tf.training.recipe_file import read_recipe
from tests.processes import run_tool

FILE = '''
"""Flat logits: a defense of a user's own."""

from typing import Annotated, Literal

import keras
import tensorflow as tf

import agkd_tf
from agkd_tf.settings import Weight


@keras.saving.register_keras_serializable(package="mine")
class Flat(agkd_tf.AdversarialTraining):
    """Keeps the logits of adversaries small."""

    def __init__(
        self,
        student,
        *,
        flatness: Annotated[Weight, "Weight of the logits' size."] = 0.1,
        power: Annotated[Literal["one", "two"], "Power that the size is measured by."] = "two",
        **kwargs,
    ):
        super().__init__(student, **kwargs)

    @property
    def term_weights(self):
        return super().term_weights | {"flatness": self.flatness}

    def loss_terms(self, crafted, labels):
        terms, logits = super().loss_terms(crafted, labels)
        size = tf.abs(logits) if self.power == "one" else tf.square(logits)
        return terms | {"flatness": tf.reduce_mean(size)}, logits
'''


def register(folder):
    """Does what a user does who has the file in a folder."""
    sys.path.insert(0, str(folder))
    from flat import Flat

    DEFENSES["flat"] = Flat
    return Flat


def run_tool_with_it(folder, name, *arguments):
    register(folder)
    run_tool(name, *arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a users own")
    (folder / "flat.py").write_text(FILE, encoding="utf-8")
    return folder


@pytest.fixture
def flat(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "flat", raising=False)
    monkeypatch.setitem(DEFENSES, "flat", None)  # taken back afterwards
    return register(folder)


def test_it_trains_from_a_flagfile_and_comes_back_from_its_file(folder, start, small, flat, tmp_path):
    lines = [*small, "--defense=flat", "--flatness=0.5", "--power=one", "--attack_steps=1"]
    (tmp_path / "flat.flags").write_text("\n".join(lines), encoding="utf-8")
    flags = (f"--flagfile={tmp_path}/flat.flags", f"--workdir={tmp_path}/run", "--progress=lines", "--nohints")
    trained = start(run_tool_with_it, folder, "train", *flags)
    assert trained.wait(200) == 0, trained.stderr
    history = (tmp_path / "run" / "history.csv").read_text(encoding="utf-8")
    assert "flatness" in history.splitlines()[0].split(",")
    recipe = read_recipe(tmp_path / "run")
    assert (recipe.defense, recipe.hyperparameters["flatness"], recipe.hyperparameters["power"]) == ("flat", 0.5, "one")
    student = keras.saving.load_model(tmp_path / "run" / "student.keras", compile=False)
    flat(student, flatness=0.25, power="one").save(tmp_path / "defense.keras")
    loaded = keras.saving.load_model(tmp_path / "defense.keras")
    assert (type(loaded), loaded.flatness, loaded.power) == (flat, 0.25, "one")


def test_its_settings_are_found_in_the_help(folder, start):
    full, own = (start(run_tool_with_it, folder, "train", *flags) for flags in (["--helpfull"], HELP_OF_IT))
    assert full.wait(100) == own.wait(100) == 1
    heading = full.stdout.index("defense flat:")
    assert heading < full.stdout.index("--flatness: Weight of the logits' size.")
    assert "Power that the size is measured by. One of one, two." in full.stdout[heading:]
    assert "--defense=flat: Keeps the logits of adversaries small." in own.stdout
    assert "--flatness: Weight of the logits' size. At least 0. Default: 0.1." in own.stdout
    assert "--attack_steps: " in own.stdout
    assert "--trades_beta" not in own.stdout


HELP_OF_IT = ["--defense=flat", "--help"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"flatness": -1.0}, r"`flatness` must be in \[0.0, inf\]. Received: -1.0"),
        ({"power": "three"}, "`power` must be one of one, two. Received: 'three'"),
        ({"attack_steps": 1.5}, "`attack_steps` must be an integer. Received: 1.5"),
    ],
)
def test_its_settings_are_checked(flat, bench, given, message):
    with pytest.raises(InputError, match=message):
        flat(bench.network(), **given)


def test_its_documentation_has_them(flat):
    assert "flatness: Weight of the logits' size." in flat.__doc__
