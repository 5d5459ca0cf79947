import numpy as np
import pytest
import tensorflow as tf
from cleverhans.tf2.attacks.basic_iterative_method import basic_iterative_method
from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method
from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent as cleverhans_pgd

from agkd_tf.attacks import NORMS, PGD, Ball, input_gradient
from agkd_tf.attacks.objectives import cross_entropy, targeted_cross_entropy

# Ball and step size: steps that leave the ball before they are projected.
BALLS = [(Ball("linf", 8 / 255), 3 / 255), (Ball("l2", 0.5), 0.2)]
ORDERS = {"linf": np.inf, "l2": 2}  # as cleverhans has them
SMALL = Ball("linf", 0.1)


@pytest.fixture
def objective(network, labels):
    return lambda images: cross_entropy(network(images), labels)


@pytest.mark.parametrize(("ball", "step_size"), BALLS)
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("oracle", [cleverhans_pgd, basic_iterative_method])
def test_it_equals_cleverhans(network, images, labels, ball, step_size, targeted, oracle):
    ascended = targeted_cross_entropy if targeted else cross_entropy
    adv = PGD(7, step_size).ascend(lambda adv: ascended(network(adv), labels), images, ball=ball)
    settings = {"clip_min": 0.0, "clip_max": 1.0, "y": labels, "targeted": targeted, "sanity_checks": False}
    expected = oracle(network, images, ball.eps, step_size, 7, ORDERS[ball.norm], **settings)
    np.testing.assert_allclose(adv, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_one_whole_step_equals_cleverhans_fast_gradient_method(network, images, labels, objective, norm):
    adv = PGD(1, 0.1).ascend(objective, images, ball=Ball(norm, 0.1))
    expected = fast_gradient_method(network, images, 0.1, ORDERS[norm], clip_min=0.0, clip_max=1.0, y=labels)
    np.testing.assert_allclose(adv, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("eps", [0.0, 8 / 255, 0.3])
@pytest.mark.parametrize("steps", [0, 1, 10])
@pytest.mark.parametrize("reach", [None, 0.05, 0.6])
def test_adversaries_stay_in_the_ball_and_the_bounds(images, objective, eps, steps, reach):
    start = None if reach is None else tf.random.stateless_uniform(images.shape, (1, 2), -reach, reach)
    adv = PGD(steps, step_share=0.5).ascend(objective, images, ball=Ball("linf", eps), start=start)
    assert np.abs(adv - images).max() <= eps + 1e-6
    assert adv.numpy().min() >= 0
    assert adv.numpy().max() <= 1


@pytest.mark.parametrize("steps", [0, 1, 10])
def test_l2_adversaries_stay_in_their_ball_and_the_bounds(images, objective, steps):
    start = tf.random.stateless_uniform(images.shape, (1, 2), -0.6, 0.6)
    adv = PGD(steps, step_share=0.4).ascend(objective, images, ball=Ball("l2", 0.5), start=start)
    assert np.linalg.norm((adv - images).numpy().reshape(len(images), -1), axis=1).max() <= 0.5 + 1e-5
    assert adv.numpy().min() >= 0
    assert adv.numpy().max() <= 1


@pytest.mark.parametrize("unroll", [False, True])
def test_no_step_and_no_start_give_the_images_back(images, objective, unroll):
    adv = PGD(0).ascend(objective, images, ball=SMALL, unroll=unroll)
    np.testing.assert_array_equal(adv, images)


def test_each_image_may_have_its_own_ball(images, objective):
    eps = tf.reshape(tf.linspace(0.0, 0.1, 6), [6, 1, 1, 1])
    adv = PGD(3, step_share=1.0).ascend(objective, images, ball=Ball("linf", eps))
    reached = np.abs(adv - images).max(axis=(1, 2, 3))
    np.testing.assert_allclose(reached, eps.numpy().ravel(), atol=1e-6)


def test_steps_never_lower_the_loss_of_a_linear_model(images, labels):
    weights = tf.constant(np.random.default_rng(3).normal(size=(192, 10)), tf.float32)

    def loss(adv):
        return cross_entropy(tf.reshape(adv, [len(adv), -1]) @ weights, labels)

    attacks = (PGD(steps, step_share=0.3) for steps in range(8))
    losses = [loss(attack.ascend(loss, images, ball=SMALL)).numpy() for attack in attacks]
    assert np.diff(losses, axis=0).min() >= -1e-5
    assert (losses[-1] > losses[0]).all()


def test_unrolled_steps_equal_the_loop(images, objective):
    @tf.function
    def attack(unroll):
        return PGD(6, 0.03).ascend(objective, images, ball=SMALL, unroll=unroll)

    np.testing.assert_allclose(attack(True), attack(False), rtol=0, atol=1e-6)


def graph_size(images, objective, steps, **settings):
    attack = tf.function(lambda adv: PGD(steps).ascend(objective, adv, ball=SMALL, **settings))
    graph = attack.get_concrete_function(images).graph.as_graph_def()
    return len(graph.node) + sum(len(function.node_def) for function in graph.library.function)


def test_the_loops_graph_does_not_grow_with_the_steps(images, objective):
    assert graph_size(images, objective, steps=3) == graph_size(images, objective, steps=100)
    assert graph_size(images, objective, steps=6, unroll=True) > graph_size(images, objective, steps=3, unroll=True)


@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("norm", NORMS)
def test_no_gradient_flows_from_the_adversary(network, images, objective, unroll, steps, norm):
    with tf.GradientTape() as tape:
        tape.watch(images)
        adv = PGD(steps).ascend(objective, images, ball=Ball(norm, 0.1), unroll=unroll)
        total = tf.reduce_sum(adv)
    assert tape.gradient(total, [images, *network.trainable_variables]) == [None] * 5


def test_an_images_gradient_is_that_of_its_own_loss(network, images, labels):
    together = input_gradient(lambda adv: cross_entropy(network(adv), labels), images)
    alone = input_gradient(lambda adv: cross_entropy(network(adv), labels[2:3]), images[2:3])
    np.testing.assert_allclose(together[2:3], alone, rtol=1e-4, atol=1e-6)
