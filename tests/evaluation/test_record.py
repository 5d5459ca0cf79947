"""What an evaluation leaves on disk."""

import json

import numpy as np
import pytest

from agkd_tf import InputError
from agkd_tf.attacks import parse_attack
from agkd_tf.evaluation import EvaluationRecord, run_attack

FGSM = parse_attack("fgsm", eps=0.01)
CLEAN = parse_attack("clean", eps=0.01)
OF = {"name": "test, first 12", "sha256": "0"}


def run(record, network, examples, attack):
    outcome = record.begin(attack.name, attack, examples.labels, seed=0)
    run_attack(network, examples, attack, outcome=outcome, checkpoint=record.save_outcomes)
    return record.add(attack.name, attack, seed=0)


@pytest.fixture
def network(fragile):
    return fragile[0]


@pytest.fixture
def some(fragile):
    """Twelve images; FGSM breaks seven of them."""
    return fragile[1].take(slice(0, 12))


def test_a_record_grows_and_keeps_another_models_results_aside(some, network, tmp_path):
    path = tmp_path / "evaluation.json"
    run(EvaluationRecord(path, {"model": "a"}, OF), network, some, CLEAN)
    record = EvaluationRecord(path, {"model": "a"}, OF)
    result = run(record, network, some, FGSM)
    record.add_section("worst_case", record.worst_case(["clean", "fgsm"]).record())
    content = json.loads(path.read_text())
    assert list(content["attacks"]) == ["clean", "fgsm"]
    assert 0 < result.accuracy < content["attacks"]["clean"]["accuracy"] == 1
    assert content["attacks"]["fgsm"]["accuracy"] == result.accuracy
    assert content["worst_case"]["over"] == ["clean", "fgsm"]
    assert content["worst_case"]["accuracy"] == result.accuracy
    arrays = np.load(tmp_path / "evaluation.npz")
    np.testing.assert_array_equal(arrays["fgsm/label"], some.labels)
    np.testing.assert_array_equal(arrays["fgsm/state"] >= 0, arrays["fgsm/prediction"] == some.labels)
    for number in (1, 2):
        other = EvaluationRecord(path, {"model": f"b{number}"}, OF)
        assert not other.results
        assert other.moves_to.name == f"evaluation.previous-{number}.json"
        before = path.read_bytes()
        other = EvaluationRecord(path, {"model": f"b{number}"}, OF)  # looking moves nothing
        assert path.read_bytes() == before
        run(other, network, some, CLEAN)
    assert json.loads((tmp_path / "evaluation.previous-1.json").read_text()) == content
    assert (tmp_path / "evaluation.previous-1.npz").exists()


@pytest.mark.parametrize("after_another", [False, True])
def test_a_broken_off_evaluation_continues_from_disk(some, network, tmp_path, after_another):
    path, batches = tmp_path / "evaluation.json", []

    def stop_at(limit):
        def stop():
            record.save_outcomes()
            batches.append(1)
            if len(batches) == limit:
                raise KeyboardInterrupt

        return stop

    record = EvaluationRecord(path, {"model": "a"}, OF)
    if after_another:
        run(record, network, some, CLEAN)
    outcome = record.begin("fgsm", FGSM, some.labels, seed=0)
    with pytest.raises(KeyboardInterrupt):
        run_attack(network, some, FGSM, batch_size=4, outcome=outcome, checkpoint=stop_at(2))
    record = EvaluationRecord(path, {"model": "a"}, OF)
    outcome = record.begin("fgsm", FGSM, some.labels, seed=0)
    assert len(outcome.waiting(0)) == 4
    assert outcome.seconds > 0
    run_attack(network, some, FGSM, batch_size=4, outcome=outcome)
    assert 0 < outcome.robust.sum() < 12
    np.testing.assert_array_equal(outcome.robust, run_attack(network, some, FGSM, batch_size=12).correct)


@pytest.mark.parametrize("change", ["eps", "seed", "labels"])
def test_what_was_done_with_other_settings_is_not_continued(some, network, tmp_path, change):
    path = tmp_path / "evaluation.json"
    run(EvaluationRecord(path, {"model": "a"}, OF), network, some, FGSM)
    record = EvaluationRecord(path, {"model": "a"}, OF)
    attack = parse_attack("fgsm", eps=0.02) if change == "eps" else FGSM
    labels = some.labels[:5] if change == "labels" else some.labels
    outcome = record.begin("fgsm", attack, labels, seed=int(change == "seed"))
    assert not outcome.state.any()
    if change != "labels":
        # Nor is what is on disk by now taken for the first settings' again.
        same = EvaluationRecord(path, {"model": "a"}, OF)
        assert not same.begin("fgsm", FGSM, some.labels, seed=0).state.any()
        assert "fgsm" not in same.results


def test_a_half_done_attack_of_other_settings_never_mixes_with_a_finished_one(some, network, tmp_path):
    path = tmp_path / "evaluation.json"
    first = run(EvaluationRecord(path, {"model": "a"}, OF), network, some, FGSM)
    record = EvaluationRecord(path, {"model": "a"}, OF)
    stronger = parse_attack("fgsm", eps=0.05)
    outcome = record.begin("fgsm", stronger, some.labels, seed=0)

    def stop():
        record.save_outcomes()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_attack(network, some, stronger, batch_size=6, outcome=outcome, checkpoint=stop)
    again = run(EvaluationRecord(path, {"model": "a"}, OF), network, some, FGSM)
    np.testing.assert_array_equal(again.correct, first.correct)


def test_details_stay_with_their_attack_and_go_with_it(some, network, tmp_path):
    path = tmp_path / "evaluation.json"
    record = EvaluationRecord(path, {"model": "a"}, OF)
    run(record, network, some, FGSM)
    record.add_detail("fgsm", "knn-50", {"accuracy": 0.5})
    record = EvaluationRecord(path, {"model": "a"}, OF)
    assert record.results["fgsm"]["knn-50"] == {"accuracy": 0.5}
    record.forget("fgsm")
    assert not record.has_outcome("fgsm")
    run(record, network, some, FGSM)
    assert "knn-50" not in record.results["fgsm"]


def test_a_record_that_is_not_json_by_name_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"must end in .json"):
        EvaluationRecord(tmp_path / "results.txt", {}, OF)


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_damaged_files_are_refused(some, network, tmp_path, suffix):
    path = tmp_path / "evaluation.json"
    run(EvaluationRecord(path, {"model": "a"}, OF), network, some, FGSM)
    damaged = path.with_suffix(suffix)
    damaged.write_bytes(damaged.read_bytes()[:40])
    with pytest.raises(InputError, match="damaged"):
        EvaluationRecord(path, {"model": "a"}, OF)


def test_a_flipped_bit_in_the_outcomes_is_refused_or_changes_nothing(some, network, tmp_path):
    path = tmp_path / "evaluation.json"
    run(EvaluationRecord(path, {"model": "a"}, OF), network, some, FGSM)
    arrays, refused = path.with_suffix(".npz"), []
    content, random = arrays.read_bytes(), np.random.default_rng(0)
    expected = EvaluationRecord(path, {"model": "a"}, OF).predictions("fgsm")
    for place in random.integers(len(content), size=40):
        arrays.write_bytes(content[:place] + bytes([content[place] ^ 1 << random.integers(8)]) + content[place + 1 :])
        try:
            record = EvaluationRecord(path, {"model": "a"}, OF)
        except InputError as error:
            refused.append(str(error))
        else:
            np.testing.assert_array_equal(record.predictions("fgsm"), expected)
    assert len(refused) > 20
    assert all("damaged" in message and "\n" not in message for message in refused)


def test_results_of_other_images_are_kept_aside_and_more_or_fewer_of_the_images_are_not(some, network, tmp_path):
    path = tmp_path / "evaluation.json"
    run(EvaluationRecord(path, {"model": "a"}, OF), network, some, CLEAN)
    more = EvaluationRecord(path, {"model": "a"}, {"name": "test", "sha256": "1"})
    assert more.moves_to is None
    assert "clean" in more.results
    other = EvaluationRecord(path, {"model": "a"}, {**OF, "sha256": "1"})
    assert not other.results
    run(other, network, some, CLEAN)
    assert other.described("clean")["examples"] == {**OF, "sha256": "1"}
    assert (tmp_path / "evaluation.previous-1.json").exists()


def test_results_that_do_not_say_of_which_images_are_kept_aside(some, network, tmp_path):
    path = tmp_path / "evaluation.json"
    run(EvaluationRecord(path, {"model": "a"}, OF), network, some, CLEAN)
    content = json.loads(path.read_text())
    del content["begun"]["clean"]["examples"]
    path.write_text(json.dumps(content))
    record = EvaluationRecord(path, {"model": "a"}, OF)
    assert not record.results
    assert record.moves_to.name == "evaluation.previous-1.json"


def test_what_a_killed_evaluation_left_half_written_is_removed(some, network, tmp_path):
    path = tmp_path / "evaluation.json"
    for name in ("evaluation.json", "evaluation.npz"):
        (tmp_path / f".4711.{name}").write_bytes(b"half")
    record = EvaluationRecord(path, {"model": "a"}, OF)
    record.remove_leftovers()
    run(record, network, some, CLEAN)
    assert {each.name for each in tmp_path.iterdir()} == {"evaluation.json", "evaluation.npz"}


def test_the_classes_that_were_seen_are_those_of_the_outcome(some, network, tmp_path):
    record = EvaluationRecord(tmp_path / "evaluation.json", {"model": "a"}, OF)
    assert record.predictions("clean") is None
    run(record, network, some, CLEAN)
    np.testing.assert_array_equal(record.predictions("clean"), some.labels)
