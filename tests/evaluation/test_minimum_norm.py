"""Norms per image: one search gives the accuracy at every eps, and is recorded, resumed and reused."""

import json

import numpy as np
import pytest

from agkd_tf import InputError, evaluate
from agkd_tf.attacks import FMN, Ball, MinimumNormAttack, parse_attack
from agkd_tf.evaluation import EvaluationSession, Outcome, run_attack

NAME = "fmn-8"
SIZES = [0.0, 0.004, 0.008, 0.05]


@pytest.fixture
def settings(fragile):
    network, examples = fragile
    labels = examples.labels.copy()
    labels[4] = (labels[4] + 1) % 10  # wrong as it is
    return {"model": network, "x": examples.images, "y": labels, "progress": "off", "eps": 0.008, "batch_size": 12}


@pytest.fixture
def searches(monkeypatch):
    """Refuses any search after `searches.append("no more")`; lists those that were traced before."""
    names, search = [], MinimumNormAttack.search

    def counted(self, *arguments, **keys):
        assert "no more" not in names
        names.append(self.name)
        return search(self, *arguments, **keys)

    monkeypatch.setattr(MinimumNormAttack, "search", counted)
    return names


def test_one_search_gives_the_accuracy_at_every_eps_now_and_later(settings, searches, tmp_path):
    own = EvaluationSession(**settings, folder=tmp_path)
    sweep = own.eps_sweep(SIZES, NAME)
    assert searches == [NAME]
    result = own.accuracy(NAME)
    norms = result.norms
    assert norms[4] == 0
    assert (np.delete(norms, 4) > 0).all()
    points = {size: accuracy for size, accuracy, _ in sweep.points}
    assert points == {size: np.mean(norms > size) for size in SIZES}
    assert list(points.values()) == sorted(points.values(), reverse=True)
    assert len(set(points.values())) == 4
    assert points[0.0] == np.mean(own.accuracy("clean").correct)
    assert result.accuracy == points[0.008]
    assert f"median norm {255 * np.sort(norms)[14]:.2f}/255" in str(sweep)
    assert all(path.stat().st_size for path in sweep.pictures)

    searches.append("no more")
    later = EvaluationSession(**settings | {"eps": 0.004}, folder=tmp_path)
    assert [size for size, *_ in later.eps_sweep([0.006], NAME).points] == sorted([*SIZES, 0.006])
    found = later.accuracy(NAME)
    np.testing.assert_array_equal(found.norms, norms)
    np.testing.assert_array_equal(found.correct, norms > 0.004)
    assert found.seconds == result.seconds
    assert found.broken_by == {"clean": 1, NAME: int(np.sum(norms <= 0.004)) - 1}
    np.testing.assert_array_equal(found.predictions != settings["y"], norms <= 0.004)
    with pytest.raises(AssertionError):  # other seeds, steps and norms are other searches
        EvaluationSession(**settings | {"seed": 1}, folder=tmp_path).accuracy(NAME)
    with pytest.raises(AssertionError):
        EvaluationSession(**settings | {"recompute": True, "eps": 0.002}, folder=tmp_path).accuracy(NAME)


def test_the_accuracy_is_that_of_the_attack_alone(settings):
    result = evaluate(**settings, attacks=[FMN(8)])[NAME]
    adv = FMN(8)(settings["model"], settings["x"], settings["y"], eps=0.008)
    moved = np.abs(adv - settings["x"] / np.float32(255)).max((1, 2, 3))
    seen = settings["model"].predict(adv, verbose=0).argmax(1)
    np.testing.assert_array_equal(result.correct, seen == settings["y"])
    np.testing.assert_allclose(moved, np.where(result.correct, 0, result.norms), atol=1e-5)


def test_results_say_their_norms(settings, tmp_path):
    settings |= {"norm": "l2", "eps": 0.1, "folder": tmp_path}
    found = evaluate(**settings, attacks=["clean", NAME, "ddn-8"])
    table = str(found).splitlines()
    assert table[1].endswith("median norm")
    assert table[2].split()[-1] == f"{found['clean'].images_per_second:,.1f}"
    assert table[3].endswith(f" {found[NAME].median_norm:.3f}")
    assert "<th" in found._repr_html_()
    assert f"{found[NAME].median_norm:.3f}" in found._repr_html_()
    assert found[NAME].within(0.1).accuracy == found[NAME].accuracy
    with pytest.raises(InputError, match="clean has no norms per image"):
        found["clean"].within(0.1)
    (recorded,) = (
        each
        for key, each in json.loads((tmp_path / "evaluation.json").read_text())["attacks"].items()
        if key.startswith("ddn")
    )
    norms = found["ddn-8"].norms
    assert recorded["norms"]["not_found"] == np.isinf(norms).sum()
    assert recorded["norms"]["median"] == pytest.approx(np.sort(norms)[14])
    assert recorded["norms"]["lower_quartile"] == pytest.approx(np.sort(norms)[7])
    again = evaluate(**settings, attacks=["ddn-8"])["ddn-8"]
    np.testing.assert_array_equal(again.norms, norms)


def test_an_interrupted_search_continues(settings, fragile):
    attack = parse_attack(NAME, eps=0.008)
    whole = run_attack(*fragile, attack, batch_size=12)
    outcome, calls = Outcome.fresh(30), []

    def interrupt():
        calls.append(outcome.searched)
        if len(calls) == 4:  # three batches of clean images, and one that is searched
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_attack(*fragile, attack, batch_size=12, outcome=outcome, checkpoint=interrupt)
    assert outcome.searched == 12
    rest = run_attack(*fragile, attack, batch_size=12, outcome=outcome)
    np.testing.assert_allclose(rest.norms, whole.norms, rtol=1e-3)
    np.testing.assert_array_equal(rest.correct, whole.correct)


@pytest.mark.parametrize("png", [pytest.param(False, marks=pytest.mark.slow), True])
def test_saved_adversaries_lie_in_the_ball_and_verify(settings, tmp_path, png):
    own = EvaluationSession(**settings, folder=tmp_path, adversaries=tmp_path / "saved", png=png)
    result = own.accuracy(NAME)
    assert 0 < result.accuracy < 1
    assert own.verify(NAME) == result.accuracy
    if png:
        levels = 255 * result.norms[np.isfinite(result.norms)]
        np.testing.assert_allclose(levels, levels.round(), atol=1e-3)
    # Within another ball the images are others: they are made anew.
    other = EvaluationSession(**settings | {"eps": 0.02}, folder=tmp_path, adversaries=tmp_path / "saved", png=png)
    assert other.accuracy(NAME).accuracy == result.within(0.02).accuracy
    assert other.verify(NAME) == result.within(0.02).accuracy


def test_an_outcome_is_judged_by_its_norms():
    outcome = Outcome.fresh(5)
    outcome.measure(np.array([0, 1, 2, 3]), np.float32([0, 0.1, 0.3, np.inf]), np.array([7, 8, 9, 1]))
    outcome.judge(Ball("l2", 0.2), np.array([1, 1, 1, 1, 1]))
    assert outcome.state.tolist() == [-1, -2, 2, 2, 0]
    assert outcome.prediction.tolist() == [7, 8, 1, 1, -1]
    outcome.judge(Ball("l2", 0.3), np.array([1, 1, 1, 1, 1]))  # what lies on the surface lies in the ball
    assert outcome.state.tolist() == [-1, -2, -2, 2, 0]
    assert outcome.nearest.tolist() == [7, 8, 9, -1, -1]
    outcome.restart(np.array([0]))
    assert outcome.searched == 3
