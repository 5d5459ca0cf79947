"""Whatever a flagfile holds: a recipe, or one line that says what is wrong with it."""

import contextlib
import dataclasses
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agkd_tf import InputError
from agkd_tf.training import Recipe
from agkd_tf.training.recipe_file import read_recipe, recipe_lines, write_recipe

NAMES = sorted({*recipe_lines(Recipe()), "mart_beta", "ema", "image_size", "teacher"})
NUMBERS = [
    "0",
    "1",
    "-1",
    "3",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "8",
    "8/255",
    "1/0",
    "0.5",
    "1e-9",
    "99999999999999999999",
]
WORDS = [
    "",
    "true",
    "no",
    "agkd",
    "trades",
    "cat_mix",
    "wrn-10-1",
    "vgg-16",
    "robust",
    "1,2",
    "2,1,x",
    "Ä ö",
    "a b",
    "=",
]
VALUES = st.one_of(st.sampled_from(NUMBERS + WORDS), st.text(max_size=8))
LINES = st.one_of(
    st.builds(lambda name, value: f"--{name}={value}", st.sampled_from(NAMES), VALUES),
    st.builds(lambda name: f"--{name}", st.sampled_from(NAMES)),
    st.text(max_size=12),
)


def accepted(path, text):
    """Returns the recipe of a flagfile, or None where it is refused; nothing else than a refusal may come."""
    path.write_text(text, encoding="utf-8", newline="")
    try:
        return read_recipe(path)
    except InputError as error:
        refusal = error
    assert str(refusal).strip()
    return None


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(lines=st.lists(LINES, max_size=4))
def test_a_flagfile_is_a_recipe_or_is_refused(tmp_path, lines):
    recipe = accepted(tmp_path / "x.flags", "\n".join(lines))
    if recipe is not None:
        settings = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe)}
        for name, value in (settings | recipe.hyperparameters).items():
            assert not isinstance(value, float) or math.isfinite(value), name
            assert not isinstance(value, int) or value < 2**31, name
        # What was accepted is recorded, and read back as it was.
        write_recipe(tmp_path / "again.flags", recipe)
        assert read_recipe(tmp_path / "again.flags") == recipe


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.floats(0, 1), bits=st.integers(1, 255))
def test_a_damaged_flagfile_is_a_recipe_or_is_refused(tmp_path, place, bits):
    write_recipe(tmp_path / "whole.flags", Recipe())
    content = bytearray((tmp_path / "whole.flags").read_bytes())
    content[min(int(place * len(content)), len(content) - 1)] ^= bits
    (tmp_path / "x.flags").write_bytes(content)
    with contextlib.suppress(InputError):
        read_recipe(tmp_path / "x.flags")


@pytest.mark.parametrize("name", ["learning_rate", "momentum", "weight_decay", "margin", "attention_weight", "ema"])
@pytest.mark.parametrize("value", ["nan", "-1", "inf", "-inf"])
def test_numbers_that_mean_nothing_are_refused_by_name(tmp_path, name, value):
    (tmp_path / "x.flags").write_text(f"--defense=agkd_bml\n--{name}={value}\n")
    with pytest.raises(InputError, match=name):
        read_recipe(tmp_path / "x.flags")
