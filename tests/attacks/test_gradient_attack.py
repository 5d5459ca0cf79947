import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from cleverhans.tf2.attacks.basic_iterative_method import basic_iterative_method
from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method
from cleverhans.tf2.attacks.momentum_iterative_method import momentum_iterative_method

from agkd_tf.attacks import CW, FGSM, PGD, Ball, Clean, bound, parse_attack, pgd
from agkd_tf.attacks.objectives import cross_entropy, margin
from agkd_tf.models import Classifier

EPS, SEED = 8 / 255, (0, 0)
BALL = Ball("linf", EPS)
START = PGD(0)


def attacked(attack, network, images, labels, indices=None, ball=BALL, variant=0):
    """Returns the adversaries of one run of an attack, or of a name."""
    attack = bound(attack, ball).attacks[0] if isinstance(attack, str) else attack
    indices = tf.range(len(images)) if indices is None else indices
    return attack.perturb(network, images, labels, ball=ball, indices=indices, seed=SEED, variant=variant)


@pytest.fixture
def batch(digits):
    """8 digits in [0, 1], their labels and places in the data set."""
    some = digits.test.take(slice(8))
    return tf.constant(some.images / 255, tf.float32), tf.constant(some.labels), tf.range(100, 108)


def test_an_adversary_starts_where_its_index_says_whatever_its_batch(network, images, labels):
    indices = tf.constant([7, 3, 11, 2, 5, 0])
    whole = attacked(START, network, images, labels, indices)
    picked = tf.constant([4, 1])
    part = attacked(START, network, *(tf.gather(each, picked) for each in (images, labels, indices)))
    np.testing.assert_array_equal(part, tf.gather(whole, picked))


def test_starts_of_equal_images_differ(network, images, labels):
    starts = attacked(START, network, tf.repeat(images[:1], 2, axis=0), labels[:2]).numpy()
    assert np.abs(starts[0] - starts[1]).mean() > EPS / 10


def test_starts_fill_the_ball_but_do_not_leave_it(network, images, labels):
    inner = tf.fill(images.shape, 0.5)
    displacement = (attacked(START, network, inner, labels) - inner).numpy()
    assert np.abs(displacement).max() <= EPS + 1e-6
    assert displacement.min() < -0.98 * EPS
    assert displacement.max() > 0.98 * EPS


def test_an_images_adversary_does_not_depend_on_its_batch(tiny_model, batch):
    attack, logits = PGD(5), Classifier(tiny_model).logits
    whole = attacked(attack, logits, *batch)
    picked = tf.constant([6, 2, 3])
    part = attacked(attack, logits, *(tf.gather(each, picked) for each in batch))
    # A gradient of almost zero may change its sign with the order of a sum: allow a few such pixels.
    assert np.mean(np.abs(part - tf.gather(whole, picked)) > 1e-6) < 0.01


def test_attacks_leave_the_networks_statistics_alone(tiny_model, batch):
    before = [variable.numpy() for variable in tiny_model.variables]
    attacked(PGD(2), Classifier(tiny_model).logits, *batch)
    for variable, value in zip(tiny_model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_clean_gives_the_images_back(network, images, labels):
    np.testing.assert_array_equal(attacked(Clean(), network, images, labels), images)


def test_fgsm_equals_cleverhans(network, images, labels):
    adv = attacked(FGSM(), network, images, labels)
    expected = fast_gradient_method(network, images, EPS, np.inf, clip_min=0.0, clip_max=1.0, y=labels)
    np.testing.assert_allclose(adv, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "loss"), [("pgd-10", cross_entropy), ("cw-10", margin)])
def test_an_attack_raises_its_own_loss_within_the_ball(network, images, labels, name, loss):
    adv = attacked(name, network, images, labels)
    assert np.abs(adv - images).max() <= EPS + 1e-6
    assert (loss(network(adv), labels) > loss(network(images), labels)).numpy().all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("name", "oracle"), [("bim-7", basic_iterative_method), ("mim-7", momentum_iterative_method)])
def test_iterated_attacks_without_a_random_start_equal_cleverhans(network, images, labels, norm, name, oracle):
    eps = 0.3 if norm == "l2" else EPS
    images = 0.3 + 0.4 * images  # cleverhans' momentum attack projects on ball and box in the other order
    adv = attacked(name, network, images, labels, ball=Ball(norm, eps))
    settings = {"clip_min": 0.0, "clip_max": 1.0, "y": labels, "sanity_checks": False}
    expected = oracle(network, images, eps, eps / 4, 7, {"linf": np.inf, "l2": 2}[norm], **settings)
    np.testing.assert_allclose(adv, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("target", ["mc", "least", "random"])
def test_a_targeted_form_approaches_its_class(network, images, labels, target, monkeypatch):
    drawn = (labels + 5) % 10  # the test of the draw itself is elsewhere
    monkeypatch.setattr(pgd, "random_other_class_per_example", lambda *given: drawn)
    adv = attacked(f"pgd-10@{target}", network, images, labels)
    before, after = (tf.nn.log_softmax(network(x)).numpy() for x in (images, adv))
    own, rows = np.eye(10)[labels], np.arange(6)
    classes = {
        "mc": np.where(own, -np.inf, before).argmax(1),
        "least": np.where(own, np.inf, before).argmin(1),
        "random": drawn.numpy(),
    }[target]
    assert np.all(after[rows, classes] > before[rows, classes])


def test_the_targeted_form_of_cw_raises_its_classs_lead(network, images, labels):
    advs = [attacked(attack, network, images, labels) for attack in (CW(10, target="least"), PGD(10, target="least"))]
    before, after, by_pgd = (network(x).numpy() for x in (images, *advs))
    target = np.where(np.eye(10)[labels], np.inf, before).argmin(1)

    def lead(logits):
        others = np.where(np.eye(10)[target], -np.inf, logits).max(1)
        return logits[np.arange(6), target] - others

    assert np.all(lead(after) > lead(before))
    assert lead(after).mean() > lead(by_pgd).mean()


def test_restarts_begin_elsewhere_and_the_first_is_the_plain_attack(network, images, labels):
    stages = parse_attack("pgd-3x3", eps=EPS).stages
    advs = [attacked(part, network, images, labels, variant=variant).numpy() for part, variant in stages]
    np.testing.assert_array_equal(advs[0], attacked(PGD(3), network, images, labels))
    assert np.abs(advs[1] - advs[2]).max() > EPS / 4


def test_of_several_stages_an_image_has_the_first_that_fools_or_the_last(network, images):
    attack, own = parse_attack("pgd-2x3", eps=0.034), tf.argmax(network(images), axis=1, output_type=tf.int32)
    stages = attack.stages
    advs = [attacked(part, network, images, own, ball=attack.ball, variant=number).numpy() for part, number in stages]
    broken = np.array([np.argmax(network(adv), 1) != own for adv in advs])
    assert 0 < broken[0].sum() < 6
    first = np.where(broken.any(0), broken.argmax(0), 2)
    found = attack.perturb(network, images, own, indices=tf.range(6), seed=SEED)
    np.testing.assert_array_equal(found, np.array(advs)[first, np.arange(6)])


def test_a_step_of_a_tiny_gradient_has_its_full_length_in_l2(images, labels):
    # Logits whose gradient is far below cleverhans' floor of 1e-6.
    def faint(x):
        return 1e-9 * tf.stack([tf.reduce_sum(x, [1, 2, 3]), tf.zeros(len(x))], 1)

    inner = tf.fill(images.shape, 0.5)
    adv = attacked(FGSM(), faint, inner, labels % 2, ball=Ball("l2", 0.3))
    np.testing.assert_allclose(np.linalg.norm((adv - inner).numpy().reshape(6, -1), axis=1), 0.3, rtol=1e-4)


def test_l2_starts_fill_the_ball_but_do_not_leave_it():
    drawn = Ball("l2", 0.5).sample_per_example(tf.range(200), (2, 1, 1), (0, 1)).numpy().reshape(200, 2)
    lengths = np.linalg.norm(drawn, axis=1)
    assert lengths.max() <= 0.5
    assert scipy.stats.kstest((lengths / 0.5) ** 2, "uniform").pvalue > 1e-4


def test_settings_name_all_that_a_result_depends_on():
    assert parse_attack("clean", eps=EPS).settings() == [{}]
    (settings,) = parse_attack("cw-20", eps=EPS).settings()
    assert settings == {
        "name": "cw-20",
        "objective": "margin",
        "eps": EPS,
        "step_size": pytest.approx(2 / 255),
        "steps": 20,
        "random_start": True,
        "norm": "linf",
        "momentum": None,
        "target": None,
        "variants": 1,
    }
