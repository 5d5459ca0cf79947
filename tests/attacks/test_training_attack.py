"""PGD as a training attack: in both norms, from every start, clipped or not."""

import numpy as np
import pytest
import tensorflow as tf
from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent as cleverhans_pgd

from agkd_tf import InputError
from agkd_tf.attacks import FGSM, NORMS, PGD, Ball
from agkd_tf.attacks.objectives import cross_entropy
from agkd_tf.randomness import named_seed, normal, uniform

EPS = {"linf": 8 / 255, "l2": 0.5}
SEED = tf.constant([3, 7])
# The settings of a start, and of what is clipped.
FORMS = {
    "uniform": {},
    "gaussian": {"start_stddev": 0.01},
    "from the image": {"random_start": False},
    "a wide start": {"start_radius": 0.9},
    "unclipped": {"start_radius": 0.1, "clip_to_ball": False},
    "momentum": {"momentum": 0.9},
}


@pytest.fixture
def objective(network, labels):
    return lambda images: cross_entropy(network(images), labels)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("form", FORMS)
def test_it_stays_in_the_box_and_in_the_ball_where_it_is_clipped(images, objective, norm, form):
    attack, ball = PGD(2, **FORMS[form]), Ball(norm, EPS[norm])
    adv = attack.craft(objective, images, ball=ball, seed=SEED)
    assert adv.numpy().min() >= 0
    assert adv.numpy().max() <= 1
    assert np.any(adv != images)
    assert bool(tf.reduce_all(ball.contains(adv - images))) == (form != "unclipped" or norm == "l2")
    assert np.all(objective(adv) > objective(images))
    unrolled = attack.craft(objective, images, ball=ball, seed=SEED, unroll=True)
    np.testing.assert_allclose(unrolled, adv, atol=1e-6)
    other = attack.craft(objective, images, ball=ball, seed=SEED + 1)
    assert bool(tf.reduce_all(other == adv)) == (form == "from the image")


@pytest.mark.parametrize("norm", NORMS)
def test_without_a_random_start_it_equals_cleverhans(network, images, labels, objective, norm):
    eps = EPS[norm]
    adv = PGD(5, step_size=eps / 3, random_start=False).craft(objective, images, ball=Ball(norm, eps), seed=SEED)
    settings = {"clip_min": 0.0, "clip_max": 1.0, "y": labels, "rand_init": 0, "sanity_checks": False}
    expected = cleverhans_pgd(network, images, eps, eps / 3, 5, {"linf": np.inf, "l2": 2}[norm], **settings)
    np.testing.assert_allclose(adv, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("batches", [1, 2])
def test_the_starts_in_the_l_inf_ball_are_those_of_the_step_in_each_batch(images, objective, batches):
    eps, shape = EPS["linf"], (batches, 6 // batches, 8, 8, 3)
    inner = 0.2 + 0.6 * images
    for attack, drawn in (
        (PGD(0), -eps + 2 * eps * uniform(shape, named_seed(SEED, "start"))),
        (PGD(0, start_stddev=0.01), 0.01 * normal(shape, named_seed(SEED, "start"))),
    ):
        start = attack.craft(objective, inner, ball=Ball("linf", eps), seed=SEED, batches=batches) - inner
        np.testing.assert_allclose(start, tf.clip_by_value(tf.reshape(drawn, images.shape), -eps, eps), atol=1e-7)


@pytest.mark.parametrize("norm", NORMS)
def test_each_image_may_have_a_ball_of_its_own(images, objective, norm):
    eps = np.linspace(0, EPS[norm], 6, dtype=np.float32)
    ball = Ball(norm, tf.reshape(eps, [6, 1, 1, 1]))
    adv = PGD(3, step_size=EPS[norm]).craft(objective, 0.2 + 0.6 * images, ball=ball, seed=SEED)
    np.testing.assert_allclose(ball.length(adv - (0.2 + 0.6 * images)), eps, rtol=0.02, atol=1e-6)


def test_n_fgsm_equals_a_plain_transcription(network, images, labels, objective):
    """De Jorge et al., 2022: noise from U(-k eps, k eps), a step of eps from there, no clipping to the ball."""
    eps, k = 8 / 255, 2
    attack = PGD(1, step_size=eps, start_radius=k * eps, clip_to_ball=False)
    adv = attack.craft(objective, images, ball=Ball("linf", eps), seed=SEED)
    noise = uniform((1, *images.shape), named_seed(SEED, "start"), -k * eps, k * eps)[0].numpy()
    noisy = tf.constant(np.clip(images.numpy() + noise, 0, 1))
    with tf.GradientTape() as tape:
        tape.watch(noisy)
        loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, network(noisy)))
    expected = np.clip(noisy.numpy() + eps * np.sign(tape.gradient(loss, noisy)), 0, 1)
    np.testing.assert_allclose(adv, expected, rtol=0, atol=1e-6)
    assert np.abs(adv - images).max() > 2 * eps
    share = PGD(1, step_share=1.0, start_radius=k * eps, clip_to_ball=False)
    np.testing.assert_array_equal(share.craft(objective, images, ball=Ball("linf", eps), seed=SEED), adv)


def test_what_a_defense_does_not_ask_an_attack_for_is_refused():
    for attack in (PGD(7), PGD(1, start_radius=0.1, clip_to_ball=False), FGSM(random_start=True), PGD(2, momentum=1.0)):
        attack.check_for_training()
    for setting in ({"objective": "margin"}, {"target": "mc"}, {"restarts": 2}, {"named": "mine"}):
        (name,) = setting
        with pytest.raises(InputError, match=f"`{name}` is for evaluation"):
            PGD(7, **setting).check_for_training()
