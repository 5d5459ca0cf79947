"""RobustBench's figures stand beside what an imported network's evaluation measured."""

import json

import pytest

from agkd_tf.errors import InputError
from agkd_tf.report import robustbench, robustbench_table


@pytest.fixture
def record(tmp_path, monkeypatch):
    def write(**accuracies):
        counts = {text: 100 if "first" in text else 10_000 for text in accuracies}
        attacks = {
            text: {
                "accuracy": value,
                "num_examples": counts[text],
                "confidence_interval_95": [value - 0.1, value + 0.1],
            }
            for text, value in accuracies.items()
        }
        monkeypatch.setattr(robustbench, "read_evaluation", lambda path: {"attacks": json.loads(path.read_text())})
        (tmp_path / "evaluation.json").write_text(json.dumps(attacks))
        return tmp_path / "evaluation.json"

    return write


def cells(table, name, source):
    return table.frame.loc[[(name, source)]].to_numpy()[0].tolist()


def test_all_images_have_a_difference_and_the_first_ones_none(record):
    path = record(**{"clean": 0.8344, "autoattack [linf 8/255, first 100]": 0.44, "pgd-20 [linf 8/255]": 0.5})
    table = robustbench_table({"Wong2020Fast": path})
    assert cells(table, "Wong2020Fast", "measured") == ["83.44 (73.4-93.4)", "44.00 (34.0-54.0, first 100)"]
    assert cells(table, "Wong2020Fast", "published") == ["83.34", "43.21"]
    assert cells(table, "Wong2020Fast", "difference") == ["+0.10", ""]
    assert table.notes == ["Wong2020Fast: preact-resnet-raw-nobn-18, linf 8/255, RobustBench as of 2026-11-28"]
    assert "| Wong2020Fast" in table.markdown()


def test_another_ball_is_no_measurement_of_the_entry(record):
    path = record(**{"autoattack [linf 8/255]": 0.5, "autoattack [linf 0.031, seed 1]": 0.6})
    table = robustbench_table({"Zhang2019Theoretically": path})
    assert cells(table, "Zhang2019Theoretically", "measured") == ["", ""]
    assert cells(table, "Zhang2019Theoretically", "published") == ["84.92", "53.08"]


def test_an_unknown_entry_is_refused(record):
    with pytest.raises(InputError, match=r"`robustbench` must be of Andriushchenko.*, .* Received: Mine"):
        robustbench_table({"Mine": record(clean=0.5)})
