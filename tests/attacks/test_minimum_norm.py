"""FMN and DDN: against transcriptions of the algorithms, and against distances known in closed form."""

import functools
import math

import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.attacks import DDN, FMN, Ball, parse_attack
from agkd_tf.errors import InputError

SEED = tf.constant([0, 0])
ATTACKS = [(FMN, "linf"), (FMN, "l2"), (DDN, "l2")]
# The others, too, with --all.
FIRST = [pytest.param(*each, marks=pytest.mark.slow) if number else each for number, each in enumerate(ATTACKS[::-1])]
SIZE = 4 * 4 * 3


class Network:
    """Logits tanh(x W) V + c of flat images, with their gradients by hand."""

    def __init__(self, seed, classes=4, scale=1.0):
        random = np.random.default_rng(seed)
        self.first = (scale * random.standard_normal((SIZE, 9)) / 3).astype(np.float32)
        self.second = random.standard_normal((9, classes)).astype(np.float32)
        self.bias = (0.1 * random.standard_normal(classes)).astype(np.float32)

    def __call__(self, images):
        return tf.tanh(tf.reshape(images, [-1, SIZE]) @ self.first) @ self.second + self.bias

    def logits(self, x):
        return np.tanh(x @ self.first) @ self.second + self.bias

    def gradient(self, x, weights):
        """The gradient of `weights` times the logits."""
        inner = np.tanh(x @ self.first)
        return ((self.second @ weights) * (1 - inner**2)) @ self.first.T


@pytest.fixture(scope="module")
def problem():
    random = np.random.default_rng(1)
    network, images = Network(0), np.clip(random.uniform(-0.2, 1.2, (12, 4, 4, 3)), 0, 1).astype(np.float32)
    labels = network.logits(images.reshape(12, -1)).argmax(1).astype(np.int32)
    return network, images, labels


@functools.cache
def search_of(attack, network, norm, compiled):
    """Returns the attack's search as one graph for any number of images, traced once for all tests."""
    shapes = ([None, 4, 4, 3], [None], [None], [2])
    signature = [tf.TensorSpec(shape, tf.int32 if number else tf.float32) for number, shape in enumerate(shapes)]

    def search(images, labels, indices, seed):
        return attack.search(network, images, labels, norm=norm, indices=indices, seed=seed)

    return tf.function(search, autograph=False, jit_compile=compiled, input_signature=signature)


def searched(attack, network, images, labels, norm, indices=None, seed=SEED, compiled=False):
    indices = list(range(len(images)) if indices is None else indices)
    found = search_of(attack, network, norm, compiled)(images, tf.constant(labels), tf.constant(indices), seed)
    return [each.numpy() for each in found]


def fmn(network, x, label, norm, steps):
    """One image's norm: the paper's algorithm, the released code's constants, and the details that differ here."""
    p, q = {"l2": (2, 2), "linf": (np.inf, 1)}[norm]
    first = {"l2": 1.0, "linf": 10.0}[norm]
    delta, radius, best, ever = np.zeros_like(x), np.inf, np.inf, False
    for step in range(steps):
        share = (1 + np.cos(np.pi * step / steps)) / 2
        alpha, gamma = first / 100 + (first - first / 100) * share, 0.001 + (0.05 - 0.001) * share
        z = network.logits(x + delta)
        other = max((k for k in range(len(z)) if k != label), key=lambda k: z[k])
        weights = np.zeros(len(z), np.float32)
        weights[other], weights[label] = 1, -1
        loss, gradient = z[other] - z[label], network.gradient(x + delta, weights)
        length = np.linalg.norm(delta, p)
        if z.argmax() != label:
            ever, best = True, min(best, length)
            radius = min(radius * (1 - gamma), best)
        elif ever:
            radius *= 1 + gamma
        else:
            radius = 1.001 * (length + abs(loss) / np.linalg.norm(gradient, q))
        radius = min(radius, np.linalg.norm(np.maximum(x, 1 - x), p))
        delta = np.clip(x + delta + alpha * gradient / np.linalg.norm(gradient), 0, 1) - x
        if norm == "linf":
            delta = np.clip(delta, -radius, radius)
        else:
            delta *= min(1, radius / np.linalg.norm(delta))
    return best


def ddn(network, x, label, norm, steps):
    """As `fmn`."""
    delta, radius, best = np.zeros_like(x), 1.0, np.inf
    for step in range(steps):
        alpha = 0.01 + 0.99 * (1 + np.cos(np.pi * step / steps)) / 2
        z = network.logits(x + delta)
        chances = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        gradient = network.gradient(x + delta, chances - np.eye(len(z), dtype=np.float32)[label])
        if z.argmax() != label:
            best, radius = min(best, np.linalg.norm(delta)), radius * 0.95
        else:
            radius *= 1.05
        radius = min(radius, np.linalg.norm(np.maximum(x, 1 - x)))
        delta = delta + alpha * gradient / np.linalg.norm(gradient)
        delta = np.clip(x + delta * radius / np.linalg.norm(delta), 0, 1) - x
    return best


@pytest.mark.parametrize(("attack", "norm"), ATTACKS)
def test_it_equals_a_plain_transcription_of_its_algorithm(problem, attack, norm):
    network, images, labels = problem
    plain = {FMN: fmn, DDN: ddn}[attack]
    _, distance = searched(attack(20), network, images, labels, norm)
    expected = [plain(network, x.ravel(), label, norm, 20) for x, label in zip(images, labels, strict=True)]
    np.testing.assert_allclose(distance, expected, rtol=1e-3)
    assert np.isfinite(distance).all()


@pytest.mark.parametrize(("attack", "norm"), ATTACKS)
def test_it_finds_the_boundary_of_a_linear_classifier(attack, norm):
    random = np.random.default_rng(2)
    weights = random.standard_normal((SIZE, 2)).astype(np.float32)  # with more classes, it may take another boundary
    weights -= weights.mean(0)
    images = random.uniform(0.45, 0.55, (20, 4, 4, 3)).astype(np.float32)  # far from the bounds
    scores = images.reshape(20, -1) @ weights
    labels = scores.argmax(1).astype(np.int32)
    spread = weights[:, labels].T[:, :, None] - weights[None]  # [N, D, classes]
    gaps, lengths = scores.max(1)[:, None] - scores, np.linalg.norm(spread, {"l2": 2, "linf": 1}[norm], axis=1)
    gaps[np.arange(20), labels] = np.inf
    nearest = (gaps / np.maximum(lengths, 1e-9)).min(1)
    assert nearest.max() < 0.3
    found, distance = searched(
        attack(200), lambda x: tf.reshape(x, [-1, SIZE]) @ tf.constant(weights), images, labels, norm
    )
    assert (distance >= nearest - 1e-6).all()
    np.testing.assert_allclose(distance, nearest, rtol=0.05)  # DDN's radii differ by 5 %
    assert np.median(distance / nearest) < {FMN: 1.002, DDN: 1.03}[attack]
    moved = (found - images).reshape(20, -1)
    np.testing.assert_allclose(np.linalg.norm(moved, {"l2": 2, "linf": np.inf}[norm], axis=1), distance, rtol=1e-4)


@pytest.mark.parametrize(("attack", "norm"), FIRST)
def test_what_it_finds_fools_and_lies_in_the_box_and_depends_on_no_other_image(problem, attack, norm):
    network, images, labels = problem
    labels = labels.copy()
    labels[3] = (labels[3] + 1) % 4  # wrong as it is
    found, distance = searched(attack(20), network, images, labels, norm)
    assert (network.logits(found.reshape(12, -1)).argmax(1) != labels).all()
    assert found.min() >= 0
    assert found.max() <= 1
    assert distance[3] == 0
    assert (np.delete(distance, 3) > 0).all()
    np.testing.assert_array_equal(found[3], images[3])
    some = [7, 3, 0]
    _, fewer = searched(attack(20), network, images[some], labels[some], norm, some)
    np.testing.assert_allclose(fewer, distance[some], rtol=1e-4)


@pytest.mark.parametrize(("attack", "norm"), FIRST)
def test_in_a_ball_it_gives_the_nearest_or_the_clean_image(problem, attack, norm):
    network, images, labels = problem
    found, distance = searched(attack(20), network, images, labels, norm)
    eps = float(np.median(distance))
    adv = attack(20)(network, images, labels, eps=eps, norm=norm, batch_size=5)
    inside = distance <= eps
    assert 0 < inside.sum() < 12
    np.testing.assert_allclose(adv[inside], found[inside], atol=1e-4)
    np.testing.assert_array_equal(adv[~inside], images[~inside])


@pytest.mark.parametrize(("attack", "norm"), FIRST)
def test_where_nothing_fools_it_finds_nothing(problem, attack, norm):
    _, images, labels = problem
    found, distance = searched(attack(5), lambda x: tf.one_hot(labels, 4) + 0 * x[:, 0, 0, :1], images, labels, norm)
    assert np.isinf(distance).all()
    np.testing.assert_array_equal(found, images)


def test_where_the_gradient_is_zero_ddn_takes_random_steps_of_the_images_own(problem):
    _, images, _ = problem
    middle = tf.constant(np.full_like(images, 0.5))

    def steps(x):  # its gradient is zero everywhere
        first = tf.reshape(x, [-1, SIZE])[:, 0]
        return tf.stack([tf.zeros_like(first) + 0.5, tf.round(4 * tf.abs(first - 0.5))], 1) + 0 * x[:, 0, 0, :1]

    labels = np.zeros(12, np.int32)
    found, distance = searched(DDN(30), steps, middle, labels, "l2")
    assert np.isfinite(distance).any()
    assert len(np.unique(distance)) > 2
    again, same = searched(DDN(30), steps, middle[:4], labels[:4], "l2", [5, 1, 0, 11])
    np.testing.assert_array_equal(same, distance[[5, 1, 0, 11]])
    np.testing.assert_array_equal(again, found[[5, 1, 0, 11]])
    _, other = searched(DDN(30), steps, middle, labels, "l2", seed=tf.constant([1, 0]))
    assert (other != distance).any()


@pytest.mark.parametrize(("attack", "norm"), [pytest.param(FMN, "linf", marks=pytest.mark.slow), (FMN, "l2")])
def test_it_is_the_same_under_xla(problem, attack, norm):
    network, images, labels = problem
    _, distance = searched(attack(20), network, images, labels, norm)
    _, compiled = searched(attack(20), network, images, labels, norm, compiled=True)
    np.testing.assert_allclose(compiled, distance, rtol=1e-3)


def test_names_stand_for_their_settings():
    clean, attack = parse_attack("fmn-50", eps=0.1).attacks
    assert clean.settings(Ball("linf", 0.1)) == {}
    assert attack == FMN(50)
    assert attack.settings(Ball("l2", 1.0)) == {
        "name": "fmn-50",
        "eps": 1.0,
        "norm": "l2",
        "steps": 50,
        "step_size": 1.0,
    }
    assert parse_attack("ddn-20", eps=1.0, norm="l2").attacks[1] == DDN(20)
    assert FMN(step_size=2.0).name == "fmn-100(step_size=2.0)"
    with pytest.raises(InputError, match=r"`attacks`: 'ddn-20': ddn-20 searches in l2 alone"):
        parse_attack("ddn-20", eps=0.1)
    for name in ("fmn", "fmn-20x2", "fmn-20~1/255", "ddn-20@mc", "fmn-0"):
        with pytest.raises(InputError, match="`attacks` must be one or more of"):
            parse_attack(name, eps=0.1)
    with pytest.raises(InputError, match="`steps`"):
        FMN(0)


def test_a_sequence_knows_whether_it_is_a_search():
    assert parse_attack("fmn-50", eps=0.1).minimum_norm
    assert not parse_attack("fab-t", eps=0.1, num_classes=3).minimum_norm
    assert not parse_attack("pgd-20x2", eps=0.1).minimum_norm
    assert math.isinf(FMN.first_radius)
