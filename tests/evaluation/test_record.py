"""What an evaluation leaves on disk."""

import json

import numpy as np
import pytest

from agkd_tf import InputError
from agkd_tf.attacks import parse_attack
from agkd_tf.evaluation import EvaluationRecord, evaluate
from agkd_tf.models import Classifier

FGSM = parse_attack("fgsm", eps=0.05)
CLEAN = parse_attack("clean", eps=0.05)


def run(record, model, examples, attack, **settings):
    outcome = record.begin(attack.name, attack, examples.labels, seed=0)
    evaluate(Classifier(model).logits, examples, attack, outcome=outcome, checkpoint=record.save_outcomes, **settings)
    return record.add(attack.name, attack, seed=0)


@pytest.fixture
def some(digits):
    return digits.test.take(slice(0, 12))


def test_a_record_grows_and_keeps_another_models_results_aside(some, tiny_model, tmp_path):
    path = tmp_path / "evaluation.json"
    run(EvaluationRecord(path, {"model": "a"}), tiny_model, some, CLEAN)
    record = EvaluationRecord(path, {"model": "a"})
    result = run(record, tiny_model, some, FGSM)
    record.add_section("worst_case", record.worst_case(["clean", "fgsm"]))
    content = json.loads(path.read_text())
    assert list(content["attacks"]) == ["clean", "fgsm"]
    assert content["attacks"]["fgsm"]["accuracy"] == result.accuracy
    assert content["worst_case"]["over"] == ["clean", "fgsm"]
    assert content["worst_case"]["accuracy"] <= result.accuracy
    arrays = np.load(tmp_path / "evaluation.npz")
    np.testing.assert_array_equal(arrays["fgsm/label"], some.labels)
    np.testing.assert_array_equal(arrays["fgsm/state"] >= 0, arrays["fgsm/prediction"] == some.labels)
    for number in (1, 2):
        other = EvaluationRecord(path, {"model": f"b{number}"})
        assert not other.results
        assert other.moved_to.name == f"evaluation.previous-{number}.json"
        run(other, tiny_model, some, CLEAN)
    assert json.loads((tmp_path / "evaluation.previous-1.json").read_text()) == content
    assert (tmp_path / "evaluation.previous-1.npz").exists()


def test_a_broken_off_evaluation_continues_from_disk(some, tiny_model, tmp_path):
    path, batches = tmp_path / "evaluation.json", []

    def stop_at(limit):
        def stop():
            record.save_outcomes()
            batches.append(1)
            if len(batches) == limit:
                raise KeyboardInterrupt

        return stop

    record = EvaluationRecord(path, {"model": "a"})
    outcome = record.begin("fgsm", FGSM, some.labels, seed=0)
    logits = Classifier(tiny_model).logits
    with pytest.raises(KeyboardInterrupt):
        evaluate(logits, some, FGSM, batch_size=4, outcome=outcome, checkpoint=stop_at(2))
    record = EvaluationRecord(path, {"model": "a"})
    outcome = record.begin("fgsm", FGSM, some.labels, seed=0)
    assert len(outcome.waiting(0)) == 4
    assert outcome.seconds > 0
    evaluate(logits, some, FGSM, batch_size=4, outcome=outcome)
    np.testing.assert_array_equal(outcome.robust, evaluate(logits, some, FGSM, batch_size=12).correct)


@pytest.mark.parametrize("change", ["eps", "seed", "labels"])
def test_what_was_done_with_other_settings_is_not_continued(some, tiny_model, tmp_path, change):
    path = tmp_path / "evaluation.json"
    run(EvaluationRecord(path, {"model": "a"}), tiny_model, some, FGSM)
    record = EvaluationRecord(path, {"model": "a"})
    attack = parse_attack("fgsm", eps=0.01) if change == "eps" else FGSM
    labels = some.labels[:5] if change == "labels" else some.labels
    outcome = record.begin("fgsm", attack, labels, seed=int(change == "seed"))
    assert not outcome.state.any()
    same = EvaluationRecord(path, {"model": "a"}).begin("fgsm", FGSM, some.labels, seed=0)
    assert same.finished(1)


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_damaged_files_are_refused(some, tiny_model, tmp_path, suffix):
    path = tmp_path / "evaluation.json"
    run(EvaluationRecord(path, {"model": "a"}), tiny_model, some, FGSM)
    damaged = path.with_suffix(suffix)
    damaged.write_bytes(damaged.read_bytes()[:40])
    with pytest.raises(InputError, match="damaged"):
        EvaluationRecord(path, {"model": "a"})
