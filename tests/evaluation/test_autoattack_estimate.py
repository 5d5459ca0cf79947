"""The estimate of AutoAttack's accuracy: its interval holds as often as it says, and it attacks no image twice."""

import functools
import itertools
import json
import math
import pathlib

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import agkd_tf
from agkd_tf import InputError
from agkd_tf.attacks import APGD, SquareAttack
from agkd_tf.attacks.auto_attack import PARTS
from agkd_tf.evaluation import EvaluationSession, Outcome, run_attack, sequential_sample, session
from agkd_tf.evaluation.autoattack_estimate import CHEAP, estimate_autoattack
from agkd_tf.evaluation.sequential_sample import SequentialSample
from agkd_tf.intervals import hypergeometric_interval

# The statistics.


@pytest.mark.parametrize(("sample", "population"), [(0, 9), (1, 9), (4, 9), (9, 9), (13, 40)])
def test_the_interval_has_all_numbers_that_the_sample_does_not_contradict(sample, population):
    def chance(k, x):
        ways = math.comb(k, x) * math.comb(population - k, sample - x) if x <= k else 0
        return ways / math.comb(population, sample)

    for successes in range(sample + 1):
        expected = [
            k
            for k in range(successes, population - (sample - successes) + 1)
            if sum(chance(k, x) for x in range(successes + 1)) > 0.025
            and sum(chance(k, x) for x in range(successes, sample + 1)) > 0.025
        ]
        assert hypergeometric_interval(successes, sample, population) == (expected[0], expected[-1])


def test_of_the_whole_population_nothing_is_uncertain_and_of_no_sample_everything():
    assert hypergeometric_interval(3, 7, 7) == (3, 3)
    assert hypergeometric_interval(0, 0, 7) == (0, 7)


def misses(plan, successes):
    """Returns the exact probability that the interval at which one stops does not hold the number of successes."""
    interval = functools.cache(plan.interval)
    alive, before, missed = {0: 1.0}, 0, 0.0  # successes in the sample so far -> probability, not having stopped
    for size in plan.sizes:
        following = {}
        for found, weight in alive.items():
            left = scipy.stats.hypergeom(plan.population - before, successes - found, size - before)
            for more in range(left.support()[0], left.support()[1] + 1):
                following[found + more] = following.get(found + more, 0.0) + weight * left.pmf(more)
        alive, before = {}, size
        for found, weight in following.items():
            low, high = interval(size, found)
            if plan.is_precise(size, found):
                missed += weight * (not low <= successes <= high)
            else:
                alive[found] = weight
    assert not alive
    return missed


@pytest.fixture
def small_plan():
    """A plan with several looks at a small population, whose intervals may all hold with 70 % only: few samples."""
    plan = SequentialSample(population=60, precision=3, confidence=0.7)
    assert len(plan.sizes) == 4
    return plan


def test_the_interval_at_which_one_stops_holds_the_truth_as_often_as_it_says(small_plan):
    assert 0.03 < max(misses(small_plan, successes) for successes in range(42, 61)) <= 0.3


def test_a_single_looks_interval_would_be_wrong_more_often(small_plan, monkeypatch):
    looks = len(small_plan.sizes) - 1
    honest = misses(small_plan, 57)
    monkeypatch.setattr(SequentialSample, "interval", lambda self, size, found: self._interval(size, found, 1))
    assert looks == 3
    assert misses(small_plan, 57) > 2 * honest


def test_a_sample_that_cannot_be_precise_is_not_looked_at_and_the_last_one_is_the_population():
    plan = SequentialSample(population=2500, precision=50)
    first = plan.sizes[0]
    assert plan.is_precise(first, first)
    assert first > 4
    assert not plan.is_precise(first - 3, first - 3)
    assert SequentialSample(population=12, precision=50).sizes == (4, 6, 9, 12)
    assert SequentialSample(population=2500, precision=2500).sizes[0] == 4


@pytest.mark.parametrize("standing", [0, 1, 400])
def test_the_estimate_is_the_product_of_both_shares_and_the_sample_is_a_random_one(standing):
    count, stands = 1000, np.zeros(1000, bool)
    stands[np.random.default_rng(5).permutation(count)[:standing]] = True
    truth = np.random.default_rng(6).uniform(size=count) < 0.9
    outcome, asked = Outcome.fresh(count), []

    def attack(places):
        asked.append(places)
        assert stands[places].all()
        outcome.state[places] = np.where(truth[places], 1, -1)

    found = estimate_autoattack(stands, outcome, attack, precision=2.0, seed=3, seconds=1.0)
    robust = int((stands & truth).sum())
    assert found.left_by_cheap == standing
    assert all(set(some) <= set(more) for some, more in itertools.pairwise(asked))
    if standing:
        assert found.sample == len(asked[-1])
        assert found.left_of_sample == truth[asked[-1]].sum()
        assert found.accuracy == pytest.approx(standing / count * found.left_of_sample / found.sample)
    assert found.interval[0] <= robust / count <= found.interval[1]
    assert found.interval[1] - found.interval[0] <= 0.04
    if standing == 400:
        assert len(asked) > 1
        other = estimate_autoattack(stands, Outcome.fresh(count), asked.append, precision=2.0, seed=4, seconds=1.0)
        assert set(asked[0]) != set(asked[-1][: len(asked[0])])
        assert other.seed == 4


# Which of the first 1,000 test images of CIFAR-10 (JPEG copies) each attack left in three networks of docs/results.md,
# as recorded by `tools.evaluate` and `tools.laboratory.cheap_attacks`.
RECORDED = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "attack_outcomes.json").read_text())


@pytest.mark.parametrize(("cheap", "precision"), [("malt-2", 0.75), ("cw-20", 0.75), ("pgd-20", 2.0)])
@pytest.mark.parametrize("network", RECORDED)
def test_on_recorded_outcomes_the_interval_holds_what_autoattack_leaves(network, cheap, precision):
    """PGD-20 and CW-20 leave up to a third more images than AutoAttack: a weak cheap attack costs images, not truth."""
    outcomes = {
        name: np.unpackbits(np.frombuffer(bytes.fromhex(packed), np.uint8)).astype(bool)
        for name, packed in RECORDED[network].items()
    }
    standing, truth = outcomes[cheap], outcomes["autoattack"]
    robust, held, sizes = np.mean(standing & truth), [], []
    for seed in range(20):
        outcome = Outcome.fresh(1000)

        def attack(places, outcome=outcome):
            outcome.state[places] = np.where(truth[places], 1, -1)

        found = estimate_autoattack(standing, outcome, attack, precision=precision, seed=seed, seconds=1.0)
        held.append(found.interval[0] <= robust <= found.interval[1])
        sizes.append(found.sample)
        assert abs(found.accuracy - robust) <= 2 * precision / 100
        assert found.interval[1] - found.interval[0] <= 2 * precision / 100 + 1e-9
    assert np.mean(held) >= 0.95
    if cheap == "malt-2":
        assert np.max(sizes) < standing.sum()
        assert abs(standing.mean() - truth.mean()) < 0.002


# The evaluation.

COUNT, QUIET = 60, {"eps": 0.04, "progress": "off", "batch_size": 30, "precision": 10.0}


@pytest.fixture(scope="module")
def linear():
    """A linear network, 60 images and the classes that it predicts for most of them."""
    random = np.random.default_rng(0)
    weights = tf.constant(random.normal(size=(36, 4)), tf.float32)

    def logits(images):
        return tf.reshape(images, [-1, 36]) @ weights

    images = random.uniform(0.2, 0.8, (COUNT, 6, 6, 1)).astype(np.float32)
    labels = np.argmax(logits(images), 1)
    labels[:6] = (labels[:6] + 1) % 4
    return logits, images, labels


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """AutoAttack with fewer parts and iterations, which compiles faster, and small samples."""
    monkeypatch.setattr(sequential_sample, "SMALLEST", 4)
    monkeypatch.setitem(PARTS, "standard", (APGD(steps=9), SquareAttack(40)))


def test_an_interrupted_estimate_goes_on_and_a_later_autoattack_attacks_only_the_rest(linear, monkeypatch, tmp_path):
    settings = QUIET | {"model_name": "linear", "folder": tmp_path}
    run, asked = session.continue_attack, []

    def stopped(*arguments, places, **given):
        asked.append(places)
        if len(asked) == 1:
            run(*arguments, places=places[: len(places) // 2], **given)
            raise KeyboardInterrupt
        return run(*arguments, places=places, **given)

    monkeypatch.setattr(session, "continue_attack", stopped)
    with pytest.raises(KeyboardInterrupt):
        agkd_tf.evaluate(*linear, attacks="autoattack-estimate", **settings)
    result = agkd_tf.evaluate(*linear, attacks=iter([CHEAP, "autoattack-estimate"]), **settings)
    found = result.estimate
    assert str(found) in str(result)
    assert "autoattack-estimate" in result.to_dataframe().index
    assert "autoattack-estimate" in result._repr_html_()
    recorded = json.loads((tmp_path / "evaluation.json").read_text())
    (section,) = (each for name, each in recorded.items() if name.startswith("autoattack-estimate"))
    assert section["sample"] == found.sample == len(asked[-1])
    assert not any(name.startswith("autoattack") for name in recorded["attacks"])
    with np.load(tmp_path / "evaluation.npz") as arrays:
        (state,) = (arrays[key] for key in arrays if key.startswith("autoattack") and key.endswith("/state"))
    assert np.flatnonzero(state).tolist() == asked[-1].tolist()
    # AutoAttack goes on from the sample, and ends as if there had been none.
    after = agkd_tf.evaluate(*linear, attacks="autoattack", **settings)["autoattack"]
    fresh = EvaluationSession(*linear, **QUIET)
    alone = run_attack(linear[0], fresh.examples, fresh.prepare("autoattack")["autoattack"])
    np.testing.assert_array_equal(after.correct, alone.correct)
    # The sample is the beginning of a random order of what the cheap attack leaves.
    standing = result[CHEAP.name].correct
    order = [each for each in np.random.default_rng(0).permutation(COUNT) if standing[each]]
    assert sorted(order[: found.sample]) == asked[-1].tolist()
    assert found.sample < found.left_by_cheap == len(order) < COUNT
    share = np.mean(alone.correct[order[: found.sample]])
    assert found.accuracy == pytest.approx(len(order) / COUNT * share)
    assert found.interval[0] <= np.mean(alone.correct & standing) <= found.interval[1]


def test_a_weak_cheap_attack_makes_the_sample_grow_and_is_told(linear, capsys):
    # The steps of the cheap attack see no gradient; Square needs none.
    def masked(images):
        return linear[0](tf.stop_gradient(tf.round(images * 8) / 8)) + 0 * tf.reduce_sum(images)

    labels = np.argmax(masked(tf.constant(linear[1])), 1)
    settings = QUIET | {"progress": "lines", "eps": 0.15, "precision": 5.0}
    with pytest.warns(Warning, match="gradient"):
        found = agkd_tf.evaluate(masked, linear[1], labels, attacks="autoattack-estimate", **settings).estimate
    assert found.left_by_cheap > 0.7 * COUNT  # its random starts break some
    assert found.left_of_sample < 0.5 * found.sample
    assert found.sample == found.left_by_cheap
    assert found.says_weak
    assert "gradients may be masked; run an audit" in capsys.readouterr().out


def test_where_every_image_is_needed_the_estimate_is_refused(linear, tmp_path):
    own = EvaluationSession(*linear, **QUIET)
    with pytest.raises(InputError, match="does not attack every image, which is needed here: give autoattack"):
        own.accuracy("autoattack-estimate")
    with pytest.raises(InputError, match="does not attack every image"):
        own.eps_sweep((0.1,), "autoattack-estimate")
    with pytest.raises(InputError, match="`adversaries` needs attacks on every image"):
        agkd_tf.evaluate(*linear, attacks="autoattack-estimate", adversaries=str(tmp_path), **QUIET)
    with pytest.raises(InputError, match="`precision` must be"):
        agkd_tf.evaluate(*linear, attacks="autoattack-estimate", **QUIET | {"precision": 0})
