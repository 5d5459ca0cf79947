import numpy as np
import pytest
import tensorflow as tf
from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method

from agkd_tf.attacks import ATTACK_NAMES, GradientAttack, parse_attack
from agkd_tf.attacks.objectives import cross_entropy, margin
from agkd_tf.errors import InputError
from agkd_tf.models import Classifier

EPS, SEED = 8 / 255, (0, 0)
START = GradientAttack("start", "cross_entropy", EPS, EPS / 4, 0, random_start=True)


@pytest.fixture
def batch(digits):
    """8 digits in [0, 1], their labels and places in the data set."""
    some = digits.test.take(slice(8))
    return tf.constant(some.images / 255, tf.float32), tf.constant(some.labels), tf.range(100, 108)


def test_an_adversary_starts_where_its_index_says_whatever_its_batch(network, images, labels):
    indices = tf.constant([7, 3, 11, 2, 5, 0])
    whole = START(network, images, labels, indices, SEED)
    picked = tf.constant([4, 1])
    part = START(network, *(tf.gather(each, picked) for each in (images, labels, indices)), SEED)
    np.testing.assert_array_equal(part, tf.gather(whole, picked))


def test_starts_of_equal_images_differ(network, images, labels):
    starts = START(network, tf.repeat(images[:1], 2, axis=0), labels[:2], tf.constant([0, 1]), SEED).numpy()
    assert np.abs(starts[0] - starts[1]).mean() > EPS / 10


def test_starts_fill_the_ball_but_do_not_leave_it(network, images, labels):
    inner = tf.fill(images.shape, 0.5)
    displacement = (START(network, inner, labels, tf.range(6), SEED) - inner).numpy()
    assert np.abs(displacement).max() <= EPS + 1e-6
    assert displacement.min() < -0.98 * EPS
    assert displacement.max() > 0.98 * EPS


def test_an_images_adversary_does_not_depend_on_its_batch(tiny_model, batch):
    attack, logits = parse_attack("pgd-5", eps=EPS), Classifier(tiny_model).logits
    whole = attack(logits, *batch, SEED)
    picked = tf.constant([6, 2, 3])
    part = attack(logits, *(tf.gather(each, picked) for each in batch), SEED)
    # A gradient of almost zero may change its sign with the order of a sum: allow a few such pixels.
    assert np.mean(np.abs(part - tf.gather(whole, picked)) > 1e-6) < 0.01


def test_attacks_leave_the_networks_statistics_alone(tiny_model, batch):
    before = [variable.numpy() for variable in tiny_model.variables]
    parse_attack("pgd-2", eps=EPS)(Classifier(tiny_model).logits, *batch, SEED)
    for variable, value in zip(tiny_model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_clean_gives_the_images_back(network, images, labels):
    attack = parse_attack("clean", eps=EPS)
    np.testing.assert_array_equal(attack(network, images, labels, tf.range(6), SEED), images)


def test_fgsm_equals_cleverhans(network, images, labels):
    adv = parse_attack("fgsm", eps=EPS)(network, images, labels, tf.range(6), SEED)
    expected = fast_gradient_method(network, images, EPS, np.inf, clip_min=0.0, clip_max=1.0, y=labels)
    np.testing.assert_allclose(adv, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "loss"), [("pgd-10", cross_entropy), ("cw-10", margin)])
def test_an_attack_raises_its_own_loss_within_the_ball(network, images, labels, name, loss):
    adv = parse_attack(name, eps=EPS)(network, images, labels, tf.range(6), SEED)
    assert np.abs(adv - images).max() <= EPS + 1e-6
    assert (loss(network(adv), labels) > loss(network(images), labels)).numpy().all()


@pytest.mark.parametrize(
    ("name", "objective", "step_size", "steps", "random_start"),
    [
        ("clean", "cross_entropy", 0.0, 0, False),
        ("fgsm", "cross_entropy", EPS, 1, False),
        ("pgd-1", "cross_entropy", 2 / 255, 1, True),
        ("pgd-20", "cross_entropy", 2 / 255, 20, True),
        ("cw-100", "margin", 2 / 255, 100, True),
    ],
)
def test_names_stand_for_the_published_settings(name, objective, step_size, steps, random_start):
    attack = parse_attack(name, eps=EPS)
    assert attack.step_size == pytest.approx(step_size)
    assert attack == GradientAttack(name, objective, EPS, attack.step_size, steps, random_start)


@pytest.mark.parametrize(
    "name",
    [
        "pgd",
        "cw",
        "pgd-0",
        "pgd-00",
        "pgd-020",
        "pgd-٣",
        "pgd--1",
        "pgd-1.5",
        "fgsm-1",
        "clean-0",
        "PGD-3",
        "mim-3",
        "",
    ],
)
def test_other_names_are_refused_with_the_known_ones(name):
    with pytest.raises(InputError, match="`attacks` must be of " + ", ".join(ATTACK_NAMES)):
        parse_attack(name, eps=EPS)


@pytest.mark.parametrize(("eps", "message"), [(8, "8/255"), (-0.1, "`eps` must be in"), (1.5, "`eps` must be in")])
def test_eps_outside_the_pixel_range_is_refused(eps, message):
    with pytest.raises(InputError, match=message):
        parse_attack("fgsm", eps=eps)


def test_settings_name_all_that_a_result_depends_on():
    assert parse_attack("clean", eps=EPS).settings() == {}
    assert parse_attack("cw-20", eps=EPS).settings() == {
        "name": "cw-20",
        "objective": "margin",
        "eps": EPS,
        "step_size": pytest.approx(2 / 255),
        "steps": 20,
        "random_start": True,
        "norm": "linf",
        "targeted": False,
        "restarts": 1,
    }
