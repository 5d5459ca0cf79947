"""Accuracy under attack, its interval and its record."""

import json

import numpy as np
import pytest

from agkd_tf import InputError
from agkd_tf.attacks import parse_attack
from agkd_tf.evaluation import EvaluationRecord, evaluate, wilson_interval
from agkd_tf.models import Classifier


def test_clean_accuracy_is_that_of_predict(digits, tiny_model):
    examples = digits.test.take(slice(0, 50))
    result = evaluate(Classifier(tiny_model).logits, examples, parse_attack("clean", eps=0.1), batch_size=16)
    predicted = tiny_model.predict(examples.images / np.float32(255), verbose=0).argmax(1)
    np.testing.assert_array_equal(result.correct, predicted == examples.labels)
    assert result.accuracy == np.mean(predicted == examples.labels)
    assert result.num_examples == 50


def test_the_batch_size_does_not_change_an_outcome(digits, tiny_model):
    examples, attack = digits.test.take(slice(0, 30)), parse_attack("pgd-3", eps=0.02)
    logits = Classifier(tiny_model).logits
    outcomes = [evaluate(logits, examples, attack, batch_size=size).correct for size in (7, 30)]
    np.testing.assert_array_equal(*outcomes)


def test_wilson_interval_of_a_worked_case():
    # 8 of 10: centre (8 + z^2/2) / (10 + z^2) with z = 1.959964.
    assert wilson_interval(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert wilson_interval(0, 10)[0] == pytest.approx(0.0, abs=1e-12)


def test_a_record_grows_and_keeps_another_models_results_aside(digits, tiny_model, tmp_path):
    path = tmp_path / "evaluation.json"
    result = evaluate(Classifier(tiny_model).logits, digits.test.take(slice(0, 4)), parse_attack("clean", eps=0.1))
    EvaluationRecord(path, {"model": "a"}).add("clean", result)
    second = EvaluationRecord(path, {"model": "a"})
    second.add("fgsm", result)
    content = json.loads(path.read_text())
    assert list(content["attacks"]) == ["clean", "fgsm"]
    assert content["attacks"]["clean"]["num_examples"] == 4
    other = EvaluationRecord(path, {"model": "b"})
    assert not other.results
    assert json.loads(other.moved_to.read_text()) == content
    path.write_text("{")
    with pytest.raises(InputError, match="damaged"):
        EvaluationRecord(path, {"model": "b"})
