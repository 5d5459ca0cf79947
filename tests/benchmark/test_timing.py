import json

import pytest

from agkd_tf.benchmark import Cost, Timing, ratio, take_turns


def test_contestants_take_turns_and_are_summed_up_by_medians():
    order = []

    def contestant(name, seconds):
        def run(steps):
            order.append(name)
            return [seconds * (1 + len(order)) for _ in range(steps)]

        return run

    told = []
    contestants = {"a": contestant("a", 1.0), "b": contestant("b", 10.0)}
    found = take_turns(
        contestants, rounds=3, steps=2, items={"a": 8, "b": 4}, progress=lambda *count: told.append(count)
    )
    assert order == ["a", "b"] * 3
    assert told == [(turn, 6) for turn in range(1, 7)]
    assert found["a"].rounds == ((2.0, 2.0), (4.0, 4.0), (6.0, 6.0))
    assert found["a"].record() == {
        "median_step_seconds": 4.0,
        "min_step_seconds": 2.0,
        "max_step_seconds": 6.0,
        "round_step_seconds": ((2.0, 2.0), (4.0, 4.0), (6.0, 6.0)),
        "steps_timed": 6,
        "images_per_second": 2.0,
    }
    assert found["b"].items_per_second == 4 / 50


def test_a_ratio_compares_round_by_round_and_counts_items():
    slow_then_fast = Timing(((4.0, 4.0, 9.0), (2.0, 2.0, 2.0), (1.0, 1.0, 1.0)), items=8)
    other = Timing(((2.0,), (2.0,), (2.0,)), items=2)
    # Images a second: 2, 4, 8 against 1 each.
    assert ratio(slow_then_fast, other) == (4.0, 2.0, 8.0)
    assert ratio(other, other) == (1.0, 1.0, 1.0)


def test_a_cost_multiplies_the_median_step():
    timing = Timing(((2.0, 100.0, 2.0),), items=4)
    cost = Cost(timing, {"steps_per_epoch": 30, "epochs": 120, "first_step_seconds": 5.5}, {"processor": "a chip"})
    assert (cost.seconds_per_epoch, cost.hours) == (60.0, 2.0)
    record = cost.record()
    assert record["seconds_per_epoch"] == 60.0
    assert record["images_per_second"] == 2.0
    assert record["compile_seconds"] == 3.5
    assert record["environment"] == {"processor": "a chip"}
    assert pytest.approx(record["hours"]) == 2.0
    assert record["hours_with_teacher"] == record["hours"]
    assert "peers" not in record


def test_the_hours_of_a_teacher_that_is_trained_first_count():
    student, teacher = Timing(((2.0, 3.0, 4.0),), items=4), Timing(((1.0,),), items=4)
    facts = {"steps_per_epoch": 60, "epochs": 20, "first_step_seconds": 5.0}
    cost = Cost(student, facts, {}, teacher=Cost(teacher, facts | {"epochs": 30}, {}))
    assert (cost.hours, cost.hours_with_teacher) == (1.0, 1.5)
    assert cost.record()["hours_with_teacher"] == 1.5
    unknown = Cost(student, facts, {}, teacher_is_given=True)
    assert unknown.hours_with_teacher is None
    assert "hours_with_teacher" not in unknown.record()


def test_a_cost_is_recorded_beside_each_peers_round_by_round():
    timing, peer = Timing(((1.0, 1.0), (1.0, 3.0)), items=4), Timing(((2.0,), (1.0,)), items=2)
    cost = Cost(timing, {"steps_per_epoch": 1, "epochs": 1, "first_step_seconds": 0.5}, {}, {"python its.py": peer})
    record = json.loads(json.dumps(cost.record()))
    assert record["round_step_seconds"] == [[1.0, 1.0], [1.0, 3.0]]
    assert record["compile_seconds"] == 0.0
    (its,) = record["peers"].values()
    # Images a second: 4, then 2, against 1, then 2.
    assert its["times_the_peer"] == [2.5, 1.0, 4.0]
    assert its["round_step_seconds"] == [[2.0], [1.0]]
    assert set(record["peers"]) == {"python its.py"}
