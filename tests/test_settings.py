import dataclasses
from typing import Annotated, Literal

import numpy as np
import pytest

from agkd_tf.errors import InputError
from agkd_tf.settings import (
    Choice,
    Count,
    Pixels,
    Radius,
    Range,
    Share,
    Weight,
    check_settings,
    checked,
    describe,
    settings_of,
)
from agkd_tf.training.recipe_file import setting_line

COLORS = {"red": 1, "blue": 2}


class Base:
    @checked
    def __init__(
        self,
        *,
        weight: Annotated[Weight, "How much."] = 1.0,
        steps: Annotated[Count, "How often."] = 3,
        size: Annotated[Pixels | None, "How far."] = None,
        note=None,
    ):
        self.note = note


class Derived(Base):
    @checked
    def __init__(
        self,
        *,
        color: Annotated[str, Choice(COLORS), "Which color."] = "red",
        order: Annotated[Literal["up", "down"], "Which way."] = "up",
        whole: Annotated[bool, "Whether all of it."] = False,
        epochs: Annotated[tuple[int, ...], Range(0), "When."] = (1, 2),
        steps: int = 7,
        **kwargs,
    ):
        super().__init__(steps=steps, **kwargs)
        self.order = order.upper()


def test_a_class_has_its_bases_settings_with_its_own_defaults():
    found = settings_of(Derived)
    assert set(found) == {"color", "order", "whole", "epochs", "steps", "weight", "size"}
    assert (found["steps"].default, found["steps"].help) == (7, "How often.")
    assert settings_of(Base)["steps"].default == 3
    assert found["color"].choices == ["red", "blue"]
    assert found["order"].choices == ["up", "down"]
    assert found["size"].optional
    assert not found["weight"].optional


def test_what_was_given_or_not_is_an_attribute_unless_the_class_keeps_it_itself():
    found = Derived(color="blue", weight=np.float32(0.5), epochs=[4])
    assert (found.color, found.weight, found.epochs, found.steps) == ("blue", 0.5, (4,), 7)
    assert (found.order, found.size, found.whole) == ("UP", None, False)


class ByPlace:
    @checked
    def __init__(self, weight: Annotated[Weight, "How much."], steps: Annotated[Count, "How often."] = 3):
        pass


def test_what_is_given_by_its_place_is_kept_and_checked_as_by_its_name():
    found = ByPlace(np.float32(0.5), 7)
    assert (found.weight, type(found.weight), found.steps) == (0.5, float, 7)
    with pytest.raises(InputError, match="`steps` must be in"):
        ByPlace(0.5, 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weight": -1.0}, "`weight` must be in [0.0, inf]. Received: -1.0"),
        ({"weight": float("nan")}, "`weight` must be a finite number. Received: nan"),
        ({"weight": None}, "`weight` must be a number. Received: None"),
        ({"weight": "1"}, "`weight` must be a number. Received: '1'"),
        ({"weight": True}, "`weight` must be a number. Received: True"),
        ({"steps": 2.0}, "`steps` must be an integer. Received: 2.0"),
        ({"steps": 0}, "`steps` must be in [1, 2147483647]. Received: 0"),
        ({"size": 8}, "`size` is in units of images in [0, 1]. Received: 8 (did you mean 8/255?)"),
        ({"color": "green"}, "`color` must be one of red, blue. Received: 'green'"),
        ({"order": "left"}, "`order` must be one of up, down. Received: 'left'"),
        ({"whole": 1}, "`whole` must be True or False. Received: 1"),
        ({"epochs": 3}, "`epochs` must be a list of integers. Received: 3"),
        ({"epochs": (1, -1)}, "`epochs` must be in [0, inf]. Received: -1"),
    ],
)
def test_what_is_not_allowed_is_refused(given, message):
    with pytest.raises(InputError) as error:
        Derived(**given)
    assert str(error.value) == message


@dataclasses.dataclass(frozen=True)
class Fields:
    radius: Annotated[Radius, "How large."] = 8 / 255
    share: Annotated[Share | None, "How much of it."] = None
    numbers: Annotated[tuple[float, ...] | None, "Which."] = None
    name: str = "no setting"
    switch: bool | Literal["auto"] = "auto"  # no setting either


def test_fields_of_a_dataclass_are_settings_too():
    assert list(settings_of(Fields)) == ["radius", "share", "numbers"]
    assert check_settings(Fields, {"radius": 2, "name": 3}) == {"radius": 2, "name": 3}
    with pytest.raises(InputError, match="`share`"):
        check_settings(Fields, {"share": 1.5})


@pytest.mark.parametrize(
    ("owner", "name", "value", "line"),
    [
        (Fields, "radius", 8 / 255, "--radius=8/255"),
        (Fields, "radius", 0.031, "--radius=0.031"),
        (Fields, "numbers", (0.0, 255.0), "--numbers=0,255"),
        (Derived, "epochs", (), "--epochs="),
        (Derived, "epochs", (60, 90), "--epochs=60,90"),
        (Derived, "whole", True, "--whole"),
        (Derived, "whole", False, "--nowhole"),
        (Derived, "color", "blue", "--color=blue"),
        (Derived, "weight", 1e-05, "--weight=1e-05"),
        (Derived, "steps", 3, "--steps=3"),
    ],
)
def test_a_line_is_read_as_the_value_that_it_was_written_of(owner, name, value, line):
    setting = settings_of(owner)[name]
    assert setting_line(setting, value) == line
    if "=" in line:
        assert setting.parse(line.partition("=")[2]) == value


@pytest.mark.parametrize(
    ("owner", "name", "text"),
    [(Fields, "radius", "8/x"), (Derived, "steps", "two"), (Derived, "whole", "maybe"), (Derived, "epochs", "1,x")],
)
def test_a_text_that_says_no_value_is_refused(owner, name, text):
    with pytest.raises(InputError, match=f"`{name}` must be"):
        settings_of(owner)[name].parse(text)


def test_a_setting_of_a_type_that_no_flag_has_is_the_writers_mistake():
    def function(*, table: Annotated[dict, "No."]): ...

    with pytest.raises(TypeError, match="table"):
        settings_of(function)


def test_a_description_tells_both_edges_of_what_is_allowed():
    def settings(
        low: Annotated[float, Range(1e-6), "A."] = 1.0,
        high: Annotated[float, Range(high=2.0), "B."] = 1.0,
        both: Annotated[float, Range(0.0, 1.0, low_open=True), "C."] = 1.0,
        neither: Annotated[float, Range(), "D."] = 1.0,
    ):
        pass

    assert describe(settings_of(settings).values()).splitlines() == [
        "low: A. At least 1e-06. Default: 1.0.",
        "high: B. At most 2. Default: 1.0.",
        "both: C. More than 0 and at most 1. Default: 1.0.",
        "neither: D. Default: 1.0.",
    ]
