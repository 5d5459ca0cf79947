"""Adversarial weight perturbation, as an option of every defense."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.defenses import DEFENSES
from agkd_tf.defenses.pure_step import PureStep
from agkd_tf.defenses.training_step import Batch
from agkd_tf.optimization import perturbed_weights
from agkd_tf.randomness import step_seed

GAMMA = 0.05


def numpy_perturbed(weight, gradient, gamma):
    if weight.ndim < 2:
        return weight
    return weight + gamma * np.linalg.norm(weight) * gradient / np.linalg.norm(gradient)


def stepped(defense, bench, steps=1):
    """Returns the scalars of the last of some steps on the same batch."""
    images, labels = bench.batch()
    indices = tf.range(len(labels))
    run = tf.function(lambda: defense.training_step(Batch(images, labels, indices, tf.ones(len(labels)))))
    return [run() for _ in range(steps)][-1]


def weights_of(defense):
    return [value.numpy() for value in defense.student.variables]


def test_each_kernel_moves_by_gamma_times_its_own_length():
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=shape).astype("float32") for shape in ((3, 3, 2, 4), (4,), (4, 5))]
    gradients = [rng.normal(size=weight.shape).astype("float32") * 1e20 for weight in weights]  # as with loss scaling
    moved = perturbed_weights([tf.constant(weight) for weight in weights], gradients, GAMMA)
    for weight, gradient, own in zip(weights, gradients, moved, strict=True):
        np.testing.assert_allclose(own, numpy_perturbed(weight, gradient / 1e20, GAMMA), rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(moved[2] - weights[2]), GAMMA * np.linalg.norm(weights[2]), rtol=1e-5)
    np.testing.assert_array_equal(
        perturbed_weights(weights, [np.zeros_like(each) for each in weights], GAMMA)[0], weights[0]
    )


def test_a_step_is_that_of_weights_that_are_moved_and_put_back(bench):
    found = []
    for by_hand in (False, True):
        optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
        awp = {} if by_hand else {"awp_gamma": GAMMA}
        defense = bench.defense("trades", optimizer=optimizer, weight_decay=0.01, **awp)
        if not by_hand:
            stepped(defense, bench)
        else:  # as the paper's code does it: eagerly, with the student's own variables
            student, step = defense.student, defense.training_step
            images, labels = bench.batch()
            crafted = step.craft(images, labels, step_seed(defense.seed, 0), {})
            before = weights_of(defense)
            kept = [each.numpy() for each in student.trainable_variables]
            with tf.GradientTape() as tape:
                terms, _ = defense.loss_terms(crafted, labels)
                loss = tf.add_n([weight * terms[name] for name, weight in defense.term_weights.items()])
            gradients = tape.gradient(loss, student.trainable_variables)
            for variable, value in zip(student.variables, before, strict=True):
                variable.assign(value)  # BN's statistics, too
            for weight, gradient in zip(student.trainable_variables, gradients, strict=True):
                weight.assign(numpy_perturbed(weight.numpy(), gradient.numpy(), GAMMA))
            gradients, _ = step.differentiate(crafted, labels)
            for weight, value in zip(student.trainable_variables, kept, strict=True):
                weight.assign(value)
            step.apply(gradients)
        found.append(weights_of(defense))
    for ours, reference in zip(*found, strict=True):
        np.testing.assert_allclose(ours, reference, rtol=1e-5, atol=1e-6)
    plain = bench.defense("trades", optimizer=keras.optimizers.SGD(0.1, momentum=0.9), weight_decay=0.01)
    stepped(plain, bench)
    assert max(np.abs(a - b).max() for a, b in zip(found[0], weights_of(plain), strict=True)) > 1e-4


def test_without_gamma_and_before_its_start_there_is_none(bench):
    ends = []
    for settings in (
        {},
        {"awp_gamma": 0.0},
        {"awp_gamma": GAMMA, "awp_start": 2},
        {"awp_gamma": GAMMA, "awp_start": 1},
    ):
        defense = bench.defense("at", **settings)
        stepped(defense, bench, steps=2)
        ends.append(weights_of(defense))
    for plain, zero, late, _ in zip(*ends, strict=True):
        np.testing.assert_array_equal(plain, zero)
        np.testing.assert_allclose(plain, late, rtol=1e-5, atol=1e-6)
    assert any(np.abs(plain - begun).max() > 1e-5 for plain, *_, begun in zip(*ends, strict=True))


def pure_stepped(defense, bench):
    (images, labels), step, seed = bench.batch(), PureStep(defense), step_seed(defense.seed, 0)
    given = {"images": images, "seed": seed, "learning_rate": 0.05}
    run = tf.function(lambda state, frozen: step(state, frozen, labels, **given))
    step.assign(run(step.state(), step.frozen_values())[0])


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_pure_step_and_xla_perturb_alike(bench, jit_compile):
    ends = []
    for pure in (False, True):
        defense = bench.defense("agkd_bml", awp_gamma=GAMMA, jit_compile=jit_compile and not pure)
        (pure_stepped if pure else stepped)(defense, bench)
        ends.append(weights_of(defense))
    for ours, theirs in zip(*ends, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFENSES)
def test_every_defense_can(bench, name):
    scalars = stepped(bench.defense(name, awp_gamma=GAMMA), bench)
    assert all(np.isfinite(float(value)) for value in scalars.values())
