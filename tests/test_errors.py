import math

import pytest

from agkd_tf.errors import InputError, check_choice, check_eps, check_range


def test_an_input_error_is_a_value_error():
    assert issubclass(InputError, ValueError)


def test_a_choice_is_returned_and_anything_else_is_refused_with_the_allowed_values():
    assert check_choice("norm", "l2", ("linf", "l2")) == "l2"
    with pytest.raises(InputError, match=r"`norm` must be one of linf, l2\. Received: 'l1'"):
        check_choice("norm", "l1", ("linf", "l2"))


@pytest.mark.parametrize("value", [0, 0.5, 1])
def test_a_range_includes_its_ends(value):
    assert check_range("share", value, 0, 1) == value


@pytest.mark.parametrize("value", [-1e-9, 1.001, math.nan, -math.inf])
def test_a_value_out_of_range_is_refused_by_name(value):
    with pytest.raises(InputError, match=r"`share` must be in \[0, 1\]\. Received"):
        check_range("share", value, 0, 1)


def test_an_open_range_excludes_its_lower_end_only():
    assert check_range("rate", 1, 0, 1, low_open=True) == 1
    with pytest.raises(InputError, match=r"`rate` must be in \(0, 1\]"):
        check_range("rate", 0, 0, 1, low_open=True)


@pytest.mark.parametrize("value", [0, 8 / 255, 1.0])
def test_eps_is_a_share_of_the_pixel_range(value):
    assert check_eps("eps", value) == value


@pytest.mark.parametrize(("value", "message"), [(8, "did you mean 8/255"), (4.0, "did you mean 4/255")])
def test_eps_in_whole_pixel_values_is_explained(value, message):
    with pytest.raises(InputError, match=message):
        check_eps("eps", value)


@pytest.mark.parametrize("value", [-0.1, 1.5, math.nan, math.inf])
def test_eps_outside_the_pixel_range_is_refused(value):
    with pytest.raises(InputError, match="`eps` must be in"):
        check_eps("eps", value)
