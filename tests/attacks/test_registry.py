import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agkd_tf.attacks import APGD, ATTACK_NAMES, FAB, Ball, SquareAttack, parse_attack
from agkd_tf.errors import InputError

EPS = 8 / 255


@pytest.mark.parametrize(
    ("name", "objective", "step_size", "steps", "random_start", "momentum"),
    [
        ("clean", "cross_entropy", 0.0, 0, False, None),
        ("fgsm", "cross_entropy", EPS, 1, False, None),
        ("fgsm-rs", "cross_entropy", EPS, 1, True, None),
        ("bim-10~1/255", "cross_entropy", 1 / 255, 10, False, None),
        ("pgd-20~0.01", "cross_entropy", 0.01, 20, True, None),
        ("bim-10", "cross_entropy", 2 / 255, 10, False, None),
        ("pgd-1", "cross_entropy", 2 / 255, 1, True, None),
        ("pgd-20", "cross_entropy", 2 / 255, 20, True, None),
        ("cw-100", "margin", 2 / 255, 100, True, None),
        ("mim-40", "cross_entropy", 2 / 255, 40, False, 1.0),
    ],
)
def test_names_stand_for_the_published_settings(name, objective, step_size, steps, random_start, momentum):
    attack = parse_attack(name, eps=EPS)
    (part,), (settings,) = attack.attacks, attack.settings()
    assert part.name == name
    if not steps:
        assert settings == {}
        return
    expected = {"name": name, "objective": objective, "eps": EPS, "step_size": pytest.approx(step_size)}
    expected |= {"steps": steps, "random_start": random_start, "norm": "linf", "momentum": momentum}
    assert settings == expected | {"target": None, "variants": 1}


def test_restarts_and_targets_are_read_from_the_name():
    attack = parse_attack("pgd-20x3@mc", eps=EPS)
    (part,) = attack.attacks
    assert (part.name, part.target, part.variants) == ("pgd-20@mc", "mc", 3)
    assert attack.stages == [(part, 0), (part, 1), (part, 2)]
    (part,) = parse_attack("pgd-20~1/255x3@mc", eps=EPS).attacks
    assert (part.name, part.step_size, part.target, part.variants) == ("pgd-20~1/255@mc", 1 / 255, "mc", 3)


@pytest.mark.parametrize("name", ["pgd-20~0", "pgd-20~0/255", "bim-10~1/0", "bim-10~.", "pgd-20~1/2/3", "mim-40~/"])
def test_a_step_without_a_size_is_refused(name):
    with pytest.raises(InputError, match="the step size"):
        parse_attack(name, eps=EPS)


def test_standard_autoattack_is_its_four_parts_in_order():
    clean, ce, targeted, fab, square = parse_attack("autoattack", eps=EPS, num_classes=10).attacks
    assert clean.settings(Ball("linf", EPS)) == {}
    assert ce == APGD()
    assert targeted == APGD("targeted_dlr", targets=9, named="apgd-t")
    assert fab == FAB(targets=9, named="fab-t")
    assert square == SquareAttack()
    assert (ce.steps, targeted.steps, fab.steps, square.queries) == (100, 100, 100, 5000)
    for part in (ce, targeted, fab, square):
        assert parse_attack(part.name, eps=EPS, num_classes=10).attacks == (clean, part)
    assert len(parse_attack("autoattack", eps=EPS, num_classes=10).stages) == 1 + 1 + 9 + 9 + 1


def test_autoattack_for_random_networks_is_its_two_parts_over_20_passes():
    _, ce, dlr = parse_attack("autoattack-rand", eps=EPS, num_classes=10).attacks
    assert ce == APGD(passes=20, named="apgd-ce")
    assert dlr == APGD("dlr", passes=20, named="apgd-dlr")


def test_fewer_classes_have_fewer_targets():
    assert parse_attack("apgd-t", eps=EPS, num_classes=4).attacks[1].variants == 3
    assert len(parse_attack("autoattack", eps=EPS, num_classes=2).stages) == 5
    # The ratios need classes to divide by; the record says what took their place.
    for name, classes, objective in (("apgd-t", 3, "margin"), ("apgd-t", 4, "targeted_dlr"), ("apgd-dlr", 2, "margin")):
        assert parse_attack(name, eps=EPS, num_classes=classes).settings()[1]["objective"] == objective
    with pytest.raises(InputError, match="number of classes"):
        parse_attack("fab-t", eps=EPS)


@pytest.mark.parametrize(
    "name",
    [
        "pgd",
        "cw",
        "pgd-0",
        "pgd-00",
        "pgd-020",
        "pgd-٣",
        "pgd--1",
        "pgd-1.5",
        "fgsm-1",
        "clean-0",
        "PGD-3",
        "mim",
        "fgsmx3",
        "bim-10x2",
        "clean@mc",
        "clean~1/255",
        "autoattack~1/255",
        "pgd-20~",
        "pgd-20~-1",
        "fgsm-rs-2",
        "pgd-20@worst",
        "pgd-20x0",
        "autoattackx2",
        "",
    ],
)
def test_other_names_are_refused_with_the_known_ones(name):
    with pytest.raises(InputError, match=re.escape("`attacks` must be one or more of " + ", ".join(ATTACK_NAMES))):
        parse_attack(name, eps=EPS)


def test_names_in_one_text_are_refused_with_what_to_give_instead():
    with pytest.raises(InputError, match=re.escape("give several as a list. Received: 'clean,pgd-20'")):
        parse_attack("clean,pgd-20", eps=EPS)


@pytest.mark.parametrize(("eps", "message"), [(8, "8/255"), (-0.1, "`eps` must be in"), (1.5, "`eps` must be in")])
def test_eps_outside_the_pixel_range_is_refused(eps, message):
    with pytest.raises(InputError, match=message):
        parse_attack("fgsm", eps=eps)


def test_an_l2_ball_may_be_larger_than_a_pixels_range():
    assert parse_attack("pgd-10", eps=2.0, norm="l2").ball.eps == 2.0
    with pytest.raises(InputError, match="`norm` must be one of linf, l2"):
        parse_attack("pgd-10", eps=0.1, norm="l1")


PIECES = [
    "pgd",
    "fgsm",
    "fgsm-rs",
    "clean",
    "cw",
    "autoattack",
    "apgd-t",
    "-",
    "20",
    "0",
    "9" * 12,
    "~",
    "1/255",
    "1/0",
]
PIECES += ["0.", "nan", "x", "5", "@", "mc", "least", "random", " ", "é", "\n", "*", "."]


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.lists(st.sampled_from(PIECES), max_size=8).map("".join), st.text(max_size=12)))
def test_every_text_is_an_attack_or_refused_in_a_line_that_says_what_there_is(name):
    try:
        attack = parse_attack(name, eps=EPS, num_classes=10)
    except InputError as error:
        message = str(error)
    else:
        assert attack.name == name
        assert 0 < len(attack.stages) < 1000
        return
    assert message.startswith("`attacks`")
    assert repr(name) in message


@pytest.mark.parametrize("name", ["pgd-1000000", "pgd-20x1000"])
def test_what_would_never_end_is_refused(name):
    with pytest.raises(InputError, match="`attacks`"):
        parse_attack(name, eps=EPS)
