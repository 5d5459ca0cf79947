"""CAT-CE and CAT-MIX: an eps of its own for each image."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from agkd_tf import CATCE, InputError
from agkd_tf.data.batches import training_batches
from agkd_tf.data.pixels import as_float
from agkd_tf.randomness import step_seed


@pytest.mark.parametrize("name", ["cat_ce", "cat_mix"])
def test_the_loss_equals_its_formula_in_numpy(bench, formulas, name):
    defense = bench.defense(name)
    crafted, labels = bench.craft(defense)
    z, y = np.float64(defense.classifier(crafted["adv"], training=True).logits), labels.numpy()
    expected = formulas.cross_entropy(z, crafted["soft_labels"].numpy())
    if name == "cat_mix":
        expected += np.maximum(0, formulas.best_other(z, y) - z[np.arange(8), y] + 10).mean()
    assert bench.total(defense, crafted, labels) == pytest.approx(expected, rel=1e-4)


def test_a_label_keeps_what_its_eps_leaves_and_spreads_the_rest(bench):
    defense = bench.defense("cat_ce", smoothing_scale=2.0)
    labels, eps = tf.constant([3, 3, 1]), tf.constant([0.0, 0.1, 0.15])
    soft = defense.soft_labels(labels, eps, tf.constant([0, 1])).numpy()
    np.testing.assert_allclose(soft.sum(1), 1, rtol=1e-6)
    np.testing.assert_array_equal(soft[0], np.eye(10)[3])
    assert soft[1, 3] >= 1 - 0.2
    assert np.all(np.delete(soft[2], 1) > 0)
    assert np.delete(soft[2], 1).sum() <= 0.3 + 1e-6


def test_the_attack_and_the_loss_have_draws_of_their_own(bench, monkeypatch):
    defense, attacked = bench.defense("cat_ce", smoothing_scale=2.0, eps_increment=0.0), []
    objective = defense.attack_objective

    def recorded(logits, labels, soft_labels):
        attacked.append(soft_labels)
        return objective(logits, labels, soft_labels)

    monkeypatch.setattr(defense, "attack_objective", recorded)
    clean, labels = bench.batch()
    learned = defense.craft(clean, labels, tf.constant([0, 0]), example_eps=tf.fill([8], 0.1))["soft_labels"].numpy()
    # eps does not grow, so that the two labels are of one distribution.
    for soft in (attacked[0].numpy(), learned):
        np.testing.assert_allclose(soft.sum(1), 1, rtol=1e-6)
    assert np.all(np.abs(attacked[0] - learned).max(1) > 1e-3)


def grow(bench, defense, size=32, start=0.05):
    clean, labels = bench.batch(size)
    before = tf.fill([size], np.float32(start))
    crafted = defense.craft(clean, labels, tf.constant([0, 0]), example_eps=before)
    right = np.argmax(defense.classifier.logits(crafted["adv"]), 1) == labels.numpy()
    return crafted, right, before.numpy(), clean


def test_eps_grows_where_the_adversary_is_classified_correctly_and_stays_elsewhere(bench):
    defense = bench.defense("cat_ce", eps_increment=0.01)
    crafted, right, before, _ = grow(bench, defense)
    assert 0 < right.sum() < 32
    np.testing.assert_allclose(crafted["example_eps"], np.where(right, before + 0.01, before), rtol=1e-6)


def test_eps_stays_within_the_largest_and_each_adversary_in_its_own_ball(bench):
    defense = bench.defense("cat_mix", eps=0.052, eps_increment=0.01)
    crafted, _, _, clean = grow(bench, defense)
    assert crafted["example_eps"].numpy().max() <= 0.052 + 1e-7
    moved = np.abs(crafted["adv"] - clean).max(axis=(1, 2, 3))
    assert np.all(moved <= 0.052 + 1e-6)
    small = bench.defense("cat_ce", eps_increment=0.002)
    clean, labels = bench.batch()
    eps = tf.constant(np.linspace(0, 0.14, 8), tf.float32)
    adv = small.craft(clean, labels, tf.constant([0, 0]), example_eps=eps)["adv"]
    moved = np.abs(adv - clean).max(axis=(1, 2, 3))
    assert np.all(moved <= eps.numpy() + 0.002 + 1e-6)
    assert np.all(moved >= 0.9 * np.minimum(eps.numpy() + 0.002, 1))


def test_the_attack_of_mix_goes_below_the_margin(bench):
    clean, labels = bench.batch(32)
    seed, eps = tf.constant([0, 0]), tf.fill([32], np.float32(0.1))
    margins = []
    for name in ("cat_ce", "cat_mix"):
        defense = bench.defense(name)
        crafted = defense.craft(clean, labels, seed, example_eps=eps)
        z = defense.classifier.logits(crafted["adv"]).numpy()
        rows = np.arange(32)
        own = z[rows, labels]
        z[rows, labels] = -np.inf
        margins.append((own - z.max(1)).mean())
    assert margins[1] < margins[0]


def test_training_remembers_the_eps_of_the_images_seen_and_no_other(bench):
    defense = bench.defense("cat_ce", eps_increment=0.01)
    batches = training_batches(bench.data.train, batch_size=16, seed=0)
    seen = np.concatenate([batch["index"].numpy() for batch in batches.take(3)])
    defense.fit(batches, steps_per_epoch=3, verbose=0, shuffle=False)
    eps = defense.example_eps.numpy()
    unseen = np.setdiff1d(np.arange(len(eps)), seen)
    assert np.all(eps[unseen] == 0)
    assert np.count_nonzero(eps[seen]) > 0
    assert set(np.round(eps[seen], 6)) <= {0.0, np.float32(0.01).round(6)}


def test_each_image_goes_on_from_the_eps_that_is_remembered_of_it(bench):
    defense = bench.defense("cat_ce", eps_increment=0.01)
    eps = np.linspace(0, 0.1, len(bench.data.train), dtype=np.float32)
    defense.example_eps.assign(eps)
    batches = training_batches(bench.data.train, batch_size=16, seed=0)
    batch = next(iter(batches))
    places = batch["index"].numpy()
    crafted = defense.craft(
        as_float(batch["image"]), batch["label"], step_seed(defense.seed, 0), example_eps=eps[places]
    )
    defense.fit(batches, steps_per_epoch=1, verbose=0, shuffle=False)
    eps[places] = crafted["example_eps"]
    np.testing.assert_allclose(defense.example_eps.numpy(), eps, rtol=1e-6)


def test_batches_without_an_index_are_refused_and_dicts_of_arrays_taken(bench):
    defense = bench.defense("cat_ce")
    images, labels = bench.data.train.images[:32], bench.data.train.labels[:32]
    with pytest.raises(InputError, match="index"):
        defense.fit(images, labels, verbose=0)
    named = {"image": images, "label": labels, "index": np.arange(32)}
    history = defense.fit(named, batch_size=16, epochs=2, verbose=0).history
    assert history["loss"][1] > 0


def test_what_makes_no_sense_is_refused(bench):
    with pytest.raises(InputError, match="smoothing_scale"):
        CATCE(bench.network(), eps=0.15)
    defense = CATCE(bench.network())
    defense.compile(keras.optimizers.SGD(0.1))
    with pytest.raises(InputError, match="num_examples"):
        defense.fit(bench.data.train.images[:8], bench.data.train.labels[:8], verbose=0)
