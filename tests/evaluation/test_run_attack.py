"""Accuracy under attack: stages, survivors, resumption."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from agkd_tf import InputError
from agkd_tf.attacks import Attack, AttackSequence, Ball, parse_attack
from agkd_tf.evaluation import Outcome, run_attack, wilson_interval

BALL = Ball("linf", 1.0)


class Recorder(Attack):
    """A part that breaks every image whose place satisfies a rule, and notes what it was given."""

    name, variants = "", 1

    def __init__(self, name, breaks):
        self.name, self.seen, self._breaks = name, [], breaks

    def perturb(self, logits, images, labels, *, ball, indices, seed, variant=0):
        tf.py_function(lambda places: self.seen.append(places.numpy().tolist()), [indices], [])
        return tf.where(self._breaks(indices)[:, None, None, None], 1.0 - images, images)

    def climbed(self, logits):
        return None

    def settings(self, ball):
        return {"name": self.name}


def brightness(images):
    """A classifier of two classes: dark (0) and bright (1) images."""
    mean = tf.reduce_mean(images, axis=[1, 2, 3])
    return tf.stack([0.5 - mean, mean - 0.5], axis=1)


@pytest.fixture
def dark(digits):
    """Twenty black images of class 0."""
    examples = digits.test.take(slice(0, 20))
    return type(examples)(np.zeros_like(examples.images), np.zeros(20, np.int32))


def test_clean_accuracy_is_that_of_predict(digits, fragile):
    network, examples = fragile[0], digits.test.take(slice(0, 50))
    result = run_attack(network, examples, parse_attack("clean", eps=0.1), batch_size=16)
    predicted = network.predict(examples.images / np.float32(255), verbose=0).argmax(1)
    assert 0 < result.correct.sum() < 50
    np.testing.assert_array_equal(result.correct, predicted == examples.labels)
    assert result.accuracy == np.mean(predicted == examples.labels)
    assert result.num_examples == 50


@pytest.mark.parametrize("name", ["pgd-3", "apgd-ce", "pgd-2x3"])
def test_the_batch_size_does_not_change_an_outcome(fragile, name):
    attack = parse_attack(name, eps=0.01)
    outcomes = [run_attack(*fragile, attack, batch_size=size).correct for size in (7, 30)]
    assert 0 < outcomes[0].sum() < 30
    np.testing.assert_array_equal(*outcomes)


def test_another_seed_gives_other_adversaries(fragile):
    advs = [np.zeros((30, 16, 16, 1), np.float32) for _ in range(3)]
    for adv, seed in zip(advs, (0, 0, 1), strict=True):
        run_attack(*fragile, parse_attack("pgd-3", eps=0.01), adversaries=adv, seed=seed)
    np.testing.assert_array_equal(advs[0], advs[1])
    assert np.all(np.any(advs[0] != advs[2], axis=(1, 2, 3)))


def test_each_stage_sees_only_what_stands_packed_into_whole_batches(dark):
    first, second = Recorder("first", lambda i: i % 2 == 0), Recorder("second", lambda i: i < 6)
    result = run_attack(brightness, dark, AttackSequence("both", (first, second), BALL), batch_size=4)
    assert [place for batch in first.seen for place in batch] == list(range(20))
    assert second.seen == [[1, 3, 5, 7], [9, 11, 13, 15], [17, 19]]
    assert result.accuracy == 7 / 20
    assert result.broken_by == {"first": 10, "second": 3}
    np.testing.assert_array_equal(np.flatnonzero(result.correct), [7, 9, 11, 13, 15, 17, 19])


def test_an_evaluation_broken_off_at_any_batch_ends_with_the_same_outcome(dark):
    def attack():
        return AttackSequence(
            "both", (Recorder("first", lambda i: i % 3 == 0), Recorder("second", lambda i: i % 3 == 1)), BALL
        )

    whole = Outcome.fresh(20)
    run_attack(brightness, dark, attack(), batch_size=4, outcome=whole)
    for limit in range(1, 9):
        outcome, batches = Outcome.fresh(20), []

        def stop(batches=batches, limit=limit):
            batches.append(1)
            if len(batches) == limit:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_attack(brightness, dark, attack(), batch_size=4, outcome=outcome, checkpoint=stop)
        assert not outcome.finished(2)
        run_attack(brightness, dark, attack(), batch_size=4, outcome=outcome)
        assert outcome.finished(2)
        np.testing.assert_array_equal(outcome.state, whole.state)
        np.testing.assert_array_equal(outcome.prediction, whole.prediction)


@pytest.mark.parametrize(("jit_compile", "sizes"), [(False, {None}), (True, {16, 4})])
def test_smaller_batches_compile_few_times_and_give_the_same(fragile, jit_compile, sizes):
    network, some = fragile
    traces = []

    def logits(images):
        traces.append(images.shape[0])
        return network(images)

    # Batches of 16, 16 and 3 images.
    examples, attack = some.take(np.arange(35) % 30), parse_attack("fgsm", eps=0.01)
    result = run_attack(logits, examples, attack, batch_size=16, jit_compile=jit_compile)
    plain = run_attack(network, examples, attack, batch_size=35)
    assert 0 < plain.correct.sum() < 35
    np.testing.assert_array_equal(result.correct, plain.correct)
    # Eagerly on the first eight images, and on all to see whether they are classified at all; then without XLA one
    # trace for every size, with it one a static size.
    # A trace asks for the logits twice: for the attack's gradient and for the outcome.
    shapes = [count for count in traces if count not in (8, 35)]
    assert set(shapes) == sizes
    assert len(shapes) == 2 * len(sizes)


def test_progress_tells_the_stage_and_the_images(dark):
    told = []
    first, second = Recorder("first", lambda i: i % 2 == 0), Recorder("second", lambda i: i < 0)
    run_attack(
        brightness,
        dark,
        AttackSequence("both", (first, second), BALL),
        batch_size=8,
        progress=lambda part, variant, done, total: told.append((part.name, variant, done, total)),
    )
    assert told[:4] == [("first", 0, 0, 20), ("first", 0, 8, 20), ("first", 0, 16, 20), ("first", 0, 20, 20)]
    assert told[4:] == [("second", 0, 0, 10), ("second", 0, 8, 10), ("second", 0, 10, 10)]


def test_probabilities_nan_and_single_outputs_are_refused(dark):
    attack = parse_attack("clean", eps=0.1)
    with pytest.raises(InputError, match=r"probabilities.*remove_softmax"):
        run_attack(lambda images: tf.nn.softmax(brightness(images)), dark, attack)
    with pytest.raises(InputError, match="8 of the first 8 images are NaN"):
        run_attack(lambda images: brightness(images) * np.nan, dark, attack)
    with pytest.raises(InputError, match=r"logits \[B, n\]"):
        run_attack(lambda images: brightness(images)[:, :1], dark, attack)


def test_images_that_are_not_pixels_and_labels_beyond_the_logits_are_refused(dark):
    attack = parse_attack("clean", eps=0.1)
    with pytest.raises(InputError, match=r"divide by 255.*0 to 255"):
        run_attack(
            brightness,
            type(dark)(np.linspace(0, 255, dark.images.size).reshape(dark.images.shape), dark.labels),
            attack,
        )
    dark.labels[7] = 2
    with pytest.raises(InputError, match=r"labels must be in \[0, 1\]. Received: 0 to 2"):
        run_attack(brightness, dark, attack)


def test_wilson_interval_of_a_worked_case():
    # 8 of 10: centre (8 + z^2/2) / (10 + z^2) with z = 1.959964.
    assert wilson_interval(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert wilson_interval(0, 10)[0] == pytest.approx(0.0, abs=1e-12)
    z, share = scipy.stats.norm.ppf(0.975), 0.8
    half = z * np.sqrt(share * (1 - share) / 10 + z**2 / 400) / (1 + z**2 / 10)
    assert np.diff(wilson_interval(8, 10))[0] == pytest.approx(2 * half)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_logits_that_become_nan_later_are_refused_with_the_images_place(dark, value, jit_compile):
    dark.images[13] = 255

    def poisoned(images):
        bad = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)[:, :, 0, 0] > 0.5
        return tf.where(bad, value, brightness(images))

    with pytest.raises(InputError, match="logits of image 13 under clean are NaN or infinite"):
        run_attack(poisoned, dark, parse_attack("clean", eps=0.1), batch_size=5, jit_compile=jit_compile)
