"""Each sign of masked gradients is raised by a model made to raise it, and none by adversarial training."""

import sys

import keras
import pytest
import tensorflow as tf
from keras import layers

from agkd_tf import AdversarialTraining
from agkd_tf.attacks import parse_attack
from agkd_tf.data.batches import training_batches
from agkd_tf.evaluation import SIGNS, Outcome, masked_gradient_signs, run_attack
from agkd_tf.models import Classifier

EPS = 0.1


def train(digits, seed):
    """Returns the logits of a small adversarially trained network; its weights and batches are the seed's."""
    he = [keras.initializers.HeNormal(seed=10 * seed + number) for number in range(3)]
    convolutions = [
        layers.Conv2D(filters, 3, 2, "same", activation="relu", kernel_initializer=each)
        for filters, each in zip((16, 32), he, strict=False)
    ]
    head = layers.Dense(10, kernel_initializer=he[2])
    student = keras.Sequential([keras.Input((16, 16, 1)), *convolutions, layers.Flatten(), head])
    defense = AdversarialTraining(student, eps=EPS, attack_steps=3, validation_attack_steps=0)
    defense.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    batches = training_batches(digits.train, batch_size=64, seed=seed)
    defense.fit(batches, steps_per_epoch=100, verbose=0, shuffle=False)
    return Classifier(student).logits


@pytest.fixture(autouse=True)
def few_queries(monkeypatch):
    """Square breaks in hundreds of queries what it breaks in a thousand, of networks of this size."""
    # By its name: the package has the function under that of its module.
    monkeypatch.setattr(sys.modules[masked_gradient_signs.__module__], "SQUARE_QUERIES", 250)


@pytest.fixture(scope="module")
def trained(digits):
    return train(digits, seed=0)


def raised(digits, logits, count=60, **settings):
    signs = masked_gradient_signs(logits, digits.test.take(slice(0, count)), eps=EPS, **settings)
    assert all(sign.evidence and sign.meaning and sign.remedy and sign.raised_if for sign in signs)
    return {sign.name for sign in signs if sign.raised}


def test_a_boundless_l2_ball_reaches_from_any_image_to_any_other(fragile, monkeypatch):
    radii = []

    def evaluated(logits, examples, attack, **settings):
        radii.append(attack.ball.eps)
        return run_attack(logits, examples, parse_attack("clean", eps=0.0))

    # By its name: the package has the function under that of its module.
    monkeypatch.setattr(sys.modules[masked_gradient_signs.__module__], "run_attack", evaluated)
    network, examples = fragile
    masked_gradient_signs(network, examples, eps=1.5, norm="l2")
    assert max(radii) == 16.0  # the square root of 16 * 16 * 1


@pytest.mark.slow
def test_an_audit_that_is_broken_off_goes_on_where_it_was(fragile, monkeypatch):
    # By its name: the package has the function under that of its module.
    monkeypatch.setattr(sys.modules[masked_gradient_signs.__module__], "SQUARE_QUERIES", 20)
    network, examples = fragile

    def audited(outcomes, stop_after=None):
        """Returns (the signs, or None where the audit was broken off, the batches that it took)."""
        batches = []

        def checkpoint():
            batches.append(1)
            if len(batches) == stop_after:
                raise KeyboardInterrupt

        def begin(attack, labels):
            return outcomes.setdefault(attack.name, Outcome.fresh(len(labels)))

        try:
            signs = masked_gradient_signs(
                network, examples, eps=0.01, batch_size=10, begin=begin, checkpoint=checkpoint
            )
        except KeyboardInterrupt:
            signs = None
        return signs, len(batches)

    signs, batches = audited({})
    outcomes = {}
    stopped, before = audited(outcomes, stop_after=batches // 2)
    assert stopped is None
    assert audited(outcomes) == (signs, batches - before)


def test_an_adversarially_trained_network_raises_none(digits, trained):
    # Adversaries of another network: the network's own would be the white-box attack once more.
    assert raised(digits, trained, count=200, source=train(digits, seed=1)) == set()


def test_a_quantising_layer_stops_every_gradient(digits, trained):
    found = raised(digits, lambda images: trained(tf.round(images * 4) / 4))
    assert {"zero gradients", "a boundless ball leaves images", "black box beats white box"} <= found


def test_logits_times_1000_saturate_the_cross_entropy(digits, trained):
    found = raised(digits, lambda images: 1000 * trained(images))
    assert {"zero gradients", "cross-entropy misses what the ratio finds"} <= found


def test_a_random_layer_is_seen(digits, trained):
    def noisy(images):
        return trained(tf.clip_by_value(images + tf.random.normal(tf.shape(images), stddev=0.3), 0, 1))

    assert "random outputs" in raised(digits, noisy)


def test_transfer_and_one_step_beat_an_attack_that_gets_lost(digits, trained):
    @tf.custom_gradient
    def misleading(images):
        """Gradients point the right way at the clean image and back everywhere else."""
        whole = tf.reduce_all(tf.abs(images * 255 - tf.round(images * 255)) < 1e-3, axis=[1, 2, 3])

        def backward(upstream):
            return upstream * tf.where(whole, 1.0, -1.0)[:, None, None, None]

        return tf.identity(images), backward

    found = raised(digits, lambda images: trained(misleading(images)), source=trained)
    assert {"transfer beats white box", "one step beats many", "a boundless ball leaves images"} <= found


@pytest.mark.slow
def test_an_attack_that_gets_lost_in_a_larger_ball_is_seen(digits, trained):
    def rough(images):
        # The gradient ends where neighbouring pixels differ much, as after a large random start.
        edges = tf.reduce_mean(tf.abs(images[:, 1:] - images[:, :-1]), [1, 2, 3])
        smooth = tf.cast(edges < 0.17, tf.float32)[:, None, None, None]
        return trained(smooth * images + (1 - smooth) * tf.stop_gradient(images))

    signs = masked_gradient_signs(rough, digits.test.take(slice(0, 60)), eps=EPS)
    assert set(SIGNS) - {"transfer beats white box"} == {sign.name for sign in signs}
    assert "accuracy rises with eps" in {sign.name for sign in signs if sign.raised}
