"""Every flagfile parses into a recipe, in one process."""

import os
import pathlib

import pytest
from absl import flags

from agkd_tf.models import build_model
from tools import _flags

ROOT = pathlib.Path(__file__).resolve().parents[1]
RECIPES = sorted(path for path in (ROOT / "flags").rglob("*.flags") if path.parent.name != "base")


def parse(path):
    values = flags.FlagValues()
    _flags.define_data(values)
    _flags.define_recipe(values)
    previous = os.getcwd()
    os.chdir(ROOT)
    try:
        values(["recipe", f"--flagfile={path}"])
    finally:
        os.chdir(previous)
    return _flags.recipe_from_flags(values)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_recipe_has_no_unknown_or_contradictory_flag(path):
    recipe = parse(path)
    shape = (16, 16, 1) if recipe.dataset == "digits" else (32, 32, 3)
    assert build_model(recipe.model, image_shape=shape, num_classes=10).count_params() > 0
    assert path.read_text().startswith("# ")
    assert f"--flagfile={path.relative_to(ROOT)}" in path.read_text()


def test_a_recorded_recipe_reads_back_equal(tmp_path):
    recipe = parse(ROOT / "flags/cifar10/agkd_bml_10.flags")
    _flags.write_flagfile(tmp_path / "flags.txt", recipe, extra=["--workdir=x"])
    assert _flags.read_flagfile(tmp_path / "flags.txt") == recipe
    assert recipe.hyperparameters["mart"] is True
    assert recipe.hyperparameters["eps"] == 8 / 255
