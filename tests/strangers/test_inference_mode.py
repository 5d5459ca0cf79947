"""Whatever is attacked, evaluated or audited runs in inference mode, by whichever door it came."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import agkd_tf
from agkd_tf.attacks import APGD, PGD, AttackSequence, Ball, parse_attack
from agkd_tf.data import Examples
from agkd_tf.errors import Note
from agkd_tf.evaluation import logits_of_probabilities, masked_gradient_signs, run_attack, verify_adversaries
from tests.matrices import crossed

# Layers that do otherwise in training: the first ones also where `training` is not said.
RANDOM = {
    "rotation": lambda: layers.RandomRotation(0.4, seed=1),
    "zoom": lambda: layers.RandomZoom(0.5, seed=1),
    "translation": lambda: layers.RandomTranslation(0.5, 0.5, seed=1),
    "flip": lambda: layers.RandomFlip(seed=1),
    "contrast": lambda: layers.RandomContrast(0.9, seed=1),
    "brightness": lambda: layers.RandomBrightness(0.9, value_range=(0, 1), seed=1),
    "crop": lambda: layers.RandomCrop(8, 8, seed=1),
    "noise": lambda: layers.GaussianNoise(0.5, seed=1),
    "dropout": lambda: layers.Dropout(0.5, seed=1),
    "normalization": lambda: layers.BatchNormalization(),
}
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
FLOATS = IMAGES / np.float32(255)


def network(layer):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((8, 8, 3)), layer, layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(3)]
    )


def nested(layer):
    images = keras.Input((8, 8, 3))
    return keras.Model(images, network(layer)(images))


class Subclassed(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.inner = network(layer)

    def call(self, images):
        return self.inner(images)


def subclassed(layer):
    model = Subclassed(layer)
    model(FLOATS[:1])
    return model


def labelled(model):
    """Images with the labels that a model itself gives them in inference mode, but for every fourth one."""
    labels = np.argmax(model(FLOATS, training=False), 1).astype(np.int32)
    labels[::4] = (labels[::4] + 1) % 3
    return Examples(IMAGES, labels)


@pytest.mark.parametrize(("build", "name"), crossed([network, nested, subclassed], RANDOM))
def test_a_models_accuracy_is_that_of_its_inference_mode(name, build):
    model = build(RANDOM[name]())
    examples = labelled(model)
    found = run_attack(model, examples, parse_attack("clean", eps=0.1, norm="linf", num_classes=3))
    assert found.accuracy == 0.75
    np.testing.assert_array_equal(found.correct, np.arange(40) % 4 != 0)


def through_a_defense(model):
    return agkd_tf.AdversarialTraining(model)


@pytest.mark.parametrize("door", [lambda model: model, through_a_defense], ids=["model", "defense"])
def test_attacks_and_what_they_leave_are_those_of_inference_mode(door):
    model = network(layers.RandomRotation(0.4, seed=1))
    plain = keras.Sequential([keras.Input((8, 8, 3)), *model.layers[1:]])
    examples, attack = labelled(model), parse_attack("pgd-3", eps=0.05, norm="linf", num_classes=3)
    expected = run_attack(lambda images: plain(images, training=False), examples, attack)
    adversaries = np.zeros(FLOATS.shape, np.float32)
    found = run_attack(door(model), examples, attack, adversaries=adversaries)
    np.testing.assert_array_equal(found.correct, expected.correct)
    assert 0 < found.accuracy < 0.75
    verify_adversaries(door(model), examples, adversaries, eps=0.05, norm="linf", accuracy=found.accuracy)


def test_an_attack_that_is_called_attacks_inference_mode():
    model = network(layers.RandomZoom(0.5, seed=1))
    images, labels = tf.constant(FLOATS), tf.zeros(40, tf.int32)
    first, second = (PGD(2)(model, images, labels, eps=0.1) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_probabilities_and_their_logarithms_are_those_of_inference_mode():
    model = keras.Sequential([network(layers.RandomZoom(0.5, seed=1)), layers.Softmax()])
    model.build((None, 8, 8, 3))
    logits = logits_of_probabilities(model)(tf.constant(FLOATS))
    np.testing.assert_allclose(np.exp(logits), model.predict(FLOATS, verbose=0), rtol=1e-4)


@pytest.mark.slow
def test_an_audit_sees_no_random_outputs_of_inference_mode():
    model = network(layers.RandomRotation(0.4, seed=1))
    examples = labelled(model).take(slice(0, 20))
    (random,) = [sign for sign in masked_gradient_signs(model, examples, eps=0.02) if sign.name == "random outputs"]
    assert not random.raised


def noisy(network):
    return lambda images: network(images + tf.random.normal(tf.shape(images), stddev=0.1))


def dropped(network):
    return lambda images: network(tf.nn.dropout(images, 0.3))


def rounded_otherwise(network):
    """As another order of summation gives it: no more than rounding."""
    return lambda images: network(images) * (1.0 + 1e-7 * tf.random.uniform([]))


# Name -> (how a callable is made of a network, attack, whether it is told of).
CALLABLES = {
    "the network": (lambda network: network, "fgsm", False),
    "rounding": (rounded_otherwise, "fgsm", False),
    "noise": (noisy, "clean", True),
    "noise under a gradient attack": (noisy, "fgsm", True),
    "dropout": (dropped, "fgsm", True),
    "noise by the attack that averages over it": (noisy, "averaging", False),
}


@pytest.mark.parametrize("name", CALLABLES)
def test_a_classifier_that_answers_twice_differently_is_told_of(name, fragile):
    network, examples = fragile
    make, attack, told = CALLABLES[name]
    if attack == "averaging":  # autoattack-rand's, shortened
        attack = AttackSequence("averaging", (APGD(steps=2, passes=2),), Ball("linf", 0.01))
    else:
        attack = parse_attack(attack, eps=0.01)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run_attack(make(network), examples.take(slice(0, 9)), attack)
    notes = [str(each.message) for each in caught if issubclass(each.category, Note)]
    assert len(notes) == told
    for note in notes:
        assert note.startswith("two passes over the same 8 images give different logits")
        assert "Judge by autoattack-rand" in note
        with pytest.raises(AssertionError):
            np.testing.assert_array_equal(*(make(network)(examples.images[:8] / np.float32(255)) for _ in range(2)))
