"""FGSM-PGI: what it remembers of each image, and its loss, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from agkd_tf import InputError
from agkd_tf.attacks import input_gradient
from agkd_tf.attacks.objectives import cross_entropy
from agkd_tf.data.batches import training_batches
from agkd_tf.data.pixels import as_float
from agkd_tf.defenses import FGSMPGI
from agkd_tf.randomness import step_seed
from tests.defenses.conftest import EPS, small_network

SEED = tf.constant([0, 0])


@pytest.fixture
def defense(bench):
    return bench.defense("fgsm_pgi", prior_epochs=3)


def craft(bench, defense, times_seen, *, seed=SEED):
    """Returns (images, labels, what is remembered before, what is crafted) of a batch seen that often."""
    clean, labels = bench.batch()
    rng = np.random.default_rng(int(times_seen))
    before = {
        "perturbation": rng.uniform(-EPS, EPS, clean.shape).astype(np.float32),
        "accumulated": (rng.normal(size=clean.shape) / clean[0].shape.num_elements()).astype(np.float32),
        "times_seen": np.full(len(clean), times_seen, np.float32),
    }
    crafted = defense.craft(clean, labels, seed, **{name: tf.constant(rows) for name, rows in before.items()})
    return clean.numpy(), labels, before, {name: value.numpy() for name, value in crafted.items()}


def transcription(defense, clean, labels, perturbation, accumulated):
    """The update in NumPy, image by image; only the network's gradient is TensorFlow's."""
    found = {"start": [], "adv": [], "perturbation": [], "accumulated": []}
    start = np.minimum(np.maximum(clean + perturbation, 0), 1)
    gradients = input_gradient(
        lambda images: cross_entropy(defense.classifier.logits(images), labels), tf.constant(start)
    ).numpy()
    for x, d, m, g, begun in zip(clean, perturbation, accumulated, gradients, start, strict=True):
        m = g / np.abs(g).sum() + 0.3 * m
        found["start"].append(begun)
        found["adv"].append(np.clip(x + np.clip(d + EPS * np.sign(g), -EPS, EPS), 0, 1))
        found["perturbation"].append(np.clip(d + EPS * np.sign(m), -EPS, EPS))
        found["accumulated"].append(m)
    return {name: np.stack(values) for name, values in found.items()}


@pytest.mark.parametrize("times_seen", [1, 2, 4])
def test_an_attack_starts_where_the_last_one_ended(bench, defense, times_seen):
    clean, labels, before, crafted = craft(bench, defense, times_seen)
    expected = transcription(defense, clean, labels, before["perturbation"], before["accumulated"])
    for name, value in expected.items():
        np.testing.assert_allclose(crafted[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
    np.testing.assert_array_equal(crafted["times_seen"], times_seen + 1)
    opposed = np.sign(crafted["adv"] - clean) != np.sign(crafted["perturbation"])
    assert opposed.mean() > 0.01  # the accumulated gradient, not the last one, makes the next start


@pytest.mark.parametrize("times_seen", [0, 3, 6])
def test_it_starts_anew_in_a_corner_of_the_ball_each_prior_epochs_times(bench, defense, times_seen):
    clean, _, _, crafted = craft(bench, defense, times_seen)
    again, other = (craft(bench, defense, times_seen, seed=tf.constant([0, step]))[3] for step in (0, 1))
    inside = (clean > EPS) & (clean < 1 - EPS)
    corner = (crafted["start"] - clean)[inside]
    np.testing.assert_allclose(np.abs(corner), EPS, rtol=1e-4)
    assert 0.3 < np.mean(corner > 0) < 0.7
    np.testing.assert_array_equal(again["start"], crafted["start"])
    assert np.any(other["start"] != crafted["start"])
    np.testing.assert_allclose(np.abs(crafted["accumulated"]).sum((1, 2, 3)), 1, rtol=1e-4)


@pytest.mark.parametrize("times_seen", [0, 1])
def test_everything_stays_in_the_ball_and_the_box(bench, defense, times_seen):
    clean, _, _, crafted = craft(bench, defense, times_seen)
    for name in ("start", "adv"):
        assert 0 <= crafted[name].min() <= crafted[name].max() <= 1
        assert 0 < np.abs(crafted[name] - clean).max() <= EPS + 1e-6
    assert 0 < np.abs(crafted["perturbation"]).max() <= EPS


def test_the_loss_is_that_of_the_formula(bench, formulas, defense):
    _, labels, _, crafted = craft(bench, defense, 1)
    student = defense.student
    start, adv = (student(crafted[name], training=True).numpy().astype(np.float64) for name in ("start", "adv"))
    difference = sum((a - b) ** 2 for a, b in zip(adv.ravel(), start.ravel(), strict=True)) / adv.size
    losses = bench.losses(defense, crafted, labels)
    assert losses["cross_entropy"] == pytest.approx(formulas.cross_entropy(adv, labels.numpy(), 0.4), rel=1e-5)
    assert losses["prior"] == pytest.approx(difference, rel=1e-4)
    assert losses["loss"] == pytest.approx(losses["cross_entropy"] + 10 * difference, rel=1e-4)


def test_the_gradient_of_the_difference_flows_through_both_passes(bench, defense):
    _, labels, _, crafted = craft(bench, defense, 1)

    def slope(stopped):
        with tf.GradientTape() as tape:
            start, adv = (defense.student(crafted[name], training=True) for name in ("start", "adv"))
            start, adv = (tf.stop_gradient(z) if name in stopped else z for name, z in (("start", start), ("adv", adv)))
            value = tf.reduce_mean(tf.square(adv - start))
        return tape.gradient(value, defense.student.trainable_weights[0].value).numpy()

    with tf.GradientTape() as tape:
        terms, _ = defense.loss_terms({name: tf.constant(value) for name, value in crafted.items()}, labels)
    found = tape.gradient(terms["prior"], defense.student.trainable_weights[0].value).numpy()
    np.testing.assert_allclose(found, slope(()), rtol=1e-3, atol=1e-6)
    assert np.abs(found - slope(("start",))).max() > 1e-3 * np.abs(found).max()


@pytest.mark.parametrize("xla", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_step_remembers_the_rows_of_its_batch_and_leaves_the_others(bench, xla):
    defense = bench.defense("fgsm_pgi", jit_compile=xla)
    batch = next(iter(training_batches(bench.data.train, batch_size=16, seed=0)))
    places = batch["index"].numpy()
    kept = {name: rows.numpy().copy() for name, rows in defense.memory.items()}
    expected = defense.craft(
        as_float(batch["image"]),
        batch["label"],
        step_seed(defense.seed, 0),
        **{name: tf.constant(rows[places]) for name, rows in kept.items()},
    )
    defense.train_step(batch)
    for name, rows in defense.memory.items():
        kept[name][places] = expected[name]
        unseen = np.setdiff1d(np.arange(len(rows.numpy())), places)
        np.testing.assert_array_equal(rows.numpy()[unseen], 0)
        # XLA adds in another order, and the sign of a gradient near zero makes a step of that.
        off = ~np.isclose(rows.numpy(), kept[name], rtol=1e-3, atol=1e-5)
        assert off.mean() <= (0.001 if xla else 0.0), name
    np.testing.assert_array_equal(defense.memory["times_seen"].numpy()[places], 1)


def test_what_it_needs_is_told():
    with pytest.raises(InputError, match="FGSMPGI needs `num_examples`"):
        _ = FGSMPGI(small_network()).memory
    with pytest.raises(InputError, match=r"it needs `norm='linf'`. Received: 'l2'"):
        FGSMPGI(small_network(), norm="l2", eps=0.5)
    with pytest.raises(InputError, match="images of one size"):
        FGSMPGI(small_network(shape=(None, None, 1)), num_examples=3)
