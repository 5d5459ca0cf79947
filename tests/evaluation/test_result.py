"""Results and their tables."""

import numpy as np
import pytest

from agkd_tf import InputError
from agkd_tf.evaluation import Audit, Evaluation, EvaluationRecord, Key, Sign, WorstCase, wilson_interval, worst_case
from agkd_tf.evaluation.result import AttackResult


def result(name="pgd-20", **changes):
    """Returns 200 of 400 images, with an interval that no formula gives."""
    fields = {
        "accuracy": 0.5,
        "num_examples": 400,
        "interval": (0.25, 0.7512),
        "name": name,
        "settings": [{"name": name}],
        "broken_by": {name: 200},
        "seed": 0,
        "seconds": 1.26,
        "images_per_second": 1234.5,
        "correct": np.arange(400) < 200,
        "predictions": np.zeros(400, np.int16),
    }
    return AttackResult(**fields | changes)


@pytest.fixture
def evaluation():
    """Two attacks of which each breaks half of the images that the other leaves."""
    found = {"pgd-20": result(), "a<b": result("a<b", correct=np.arange(400) >= 100)}
    record = EvaluationRecord(None, {"model": "a"}, {"name": "test", "sha256": "0"})
    return Evaluation("a & b", found, record, {}, {name: each.correct for name, each in found.items()})


def test_a_result_says_accuracy_interval_images_and_speed_and_the_worst_case_has_no_speed(evaluation):
    title, heading, pgd, _, worst = str(evaluation).splitlines()
    assert title == "a & b"
    assert heading.split() == ["attack", "accuracy", "95", "%", "interval", "images", "seconds", "images/s"]
    assert pgd.split() == ["pgd-20", "50.00%", "25.00", "to", "75.12", "400", "1.3", "1,234.5"]
    low, high = (f"{100 * each:.2f}" for each in wilson_interval(100, 400))
    assert worst.split() == ["worst", "case", "of", "2", "25.00%", low, "to", high, "400"]


def test_an_evaluation_is_a_mapping_of_its_results(evaluation):
    assert list(evaluation) == ["pgd-20", "a<b"]
    assert evaluation["pgd-20"].interval == (0.25, 0.7512)
    np.testing.assert_array_equal(np.flatnonzero(evaluation.worst_case.correct), np.arange(100, 200))
    assert evaluation.worst_case.over == ("a<b", "pgd-20")


def test_a_notebook_and_pandas_show_the_figures_of_the_table(evaluation):
    shown = evaluation._repr_html_()
    assert "<caption>a &amp; b</caption>" in shown
    for figure in ("50.00 %", "25.00 to 75.12", ">400<", ">1.3<", ">1,234.5<", "a&lt;b", "worst case of 2"):
        assert figure in shown
    frame = evaluation.to_dataframe()
    assert frame.loc["pgd-20"].to_dict() == {
        "accuracy": 0.5,
        "low": 0.25,
        "high": 0.7512,
        "num_examples": 400,
        "seconds": 1.26,
        "images_per_second": 1234.5,
    }
    assert frame.loc["worst case of 2", "accuracy"] == 0.25
    assert np.isnan(frame.loc["worst case of 2", "seconds"])


def test_the_worst_case_is_what_no_attack_broke():
    outcomes = {"a": np.array([1, 1, 0, 0], bool), "b": np.array([1, 0, 1, 0], bool)}
    found = worst_case(outcomes)
    assert isinstance(found, WorstCase)
    assert found.accuracy == 0.25
    assert found.record() == {
        "accuracy": 0.25,
        "num_examples": 4,
        "confidence_interval_95": list(wilson_interval(1, 4)),
        "over": ["a", "b"],
    }
    with pytest.raises(InputError, match="`attacks` is empty"):
        worst_case({})


KEYS = {
    "pgd-20": Key("pgd-20"),
    "pgd-20 [linf 4/255, first 100]": Key("pgd-20", "linf", 4 / 255, count=100),
    "clean [validation, l2 1.5, seed 3, 8 bits, first 7]": Key("clean", "l2", 1.5, "validation", 7, 3, 8),
    "transfer:a [b] by pgd-2 [train]": Key("transfer:a [b] by pgd-2", split="train"),
    "transfer:runs/[first 3]": Key("transfer:runs/[first 3]"),
    "clean [images 0123abcd]": Key("clean", split="images 0123abcd"),
}


@pytest.mark.parametrize("text", KEYS)
def test_a_key_is_read_as_it_is_written(text):
    assert Key.read(text) == KEYS[text]
    assert str(KEYS[text]) == text


def sign(name, raised):
    return Sign(name, raised, f"{name}'s numbers", f"{name} happens", f"{name}'s meaning", f"{name}'s remedy")


def test_a_raised_sign_says_when_it_is_raised_and_what_it_means_and_what_to_do():
    found = Audit((sign("a", False), sign("b", True)), 30)
    assert [line.strip() for line in str(found).splitlines()] == [
        "Signs of masked gradients, on 30 images:",
        "ok      a: a's numbers",
        "RAISED  b: b's numbers",
        "raised if: b happens",
        "means:     b's meaning",
        "do:        b's remedy",
        "1 of 2 raised",
    ]
    assert [each.name for each in found.raised] == ["b"]
    for words in ("b&#x27;s remedy", "RAISED", "1 of 2 raised", "a&#x27;s numbers"):
        assert words in found._repr_html_()


@pytest.mark.parametrize("autoattack", [False, True])
def test_no_sign_at_all_does_not_stand_for_autoattack(autoattack):
    *_, last = str(Audit((sign("a", False),), 30, autoattack)).splitlines()
    assert "no sign of masked gradients; trust the worst case that includes AutoAttack" in last
    assert ("is not recorded yet: `attacks=['autoattack']`" in last) != autoattack
