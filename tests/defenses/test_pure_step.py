"""A step without variables equals the step that `fit` takes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from agkd_tf import optimization
from agkd_tf.defenses.pure_step import PureStep
from agkd_tf.defenses.training_step import Batch
from agkd_tf.errors import InputError
from agkd_tf.randomness import step_seed
from tests.matrices import crossed, fast_for

STEPS, RATE = 4, 0.05
SGD = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "average": {"momentum": 0.9, "use_ema": True, "ema_momentum": 0.8},
}


def trained(defense, bench, *, pure):
    """Returns the state after some steps on the same batch, and the last step's scalars."""
    images, labels = bench.batch()
    indices, step = tf.range(len(labels)), PureStep(defense)
    if not pure:
        run = tf.function(lambda: defense.training_step(Batch(images, labels, indices, tf.ones(len(labels)))))
        scalars = [run() for _ in range(STEPS)][-1]
        return [value.numpy() for value in step.state()], scalars
    run = tf.function(
        lambda state, frozen, seed: step(
            state, frozen, labels, images=images, seed=seed, learning_rate=RATE, indices=indices
        ),
        jit_compile=False,
    )
    state, untouched = step.state(), [value.numpy() for value in step.state()]
    for number in range(STEPS):
        state, scalars = run(state, step.frozen_values(), step_seed(defense.seed, number))
    for before, after in zip(untouched, step.state(), strict=True):
        np.testing.assert_array_equal(before, after)
    step.assign(state)
    return [value.numpy() for value in step.state()], scalars


def both(bench, name, optimizer, **settings):
    return [trained(bench.defense(name, optimizer=optimizer(), **settings), bench, pure=pure) for pure in (False, True)]


def assert_alike(found):
    (states, scalars), (pure_states, pure_scalars) = found
    for ours, theirs in zip(pure_states, states, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert pure_scalars.keys() == scalars.keys()
    for name, value in scalars.items():
        assert float(pure_scalars[name]) == pytest.approx(float(value), rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize(("optimizer", "kind"), crossed([keras.optimizers.SGD, optimization.SGD], SGD))
def test_the_update_is_that_of_the_optimizer(bench, kind, optimizer):
    assert_alike(both(bench, "undefended", lambda: optimizer(RATE, **SGD[kind])))


def test_a_cycle_of_momentum_and_the_averages_warm_up_are_the_optimizers(bench):
    def optimizer():
        momentum = optimization.cycled_momentum("cyclic", steps=STEPS)
        average = {"use_ema": True, "ema_momentum": 0.5, "ema_warmup": 1}
        return optimization.SGD(RATE, momentum_schedule=momentum, nesterov=True, **average)

    assert_alike(both(bench, "undefended", optimizer))


def test_constraints_come_after_the_moving_average_as_in_keras(bench):
    def optimizer():
        return keras.optimizers.SGD(RATE, use_ema=True, ema_momentum=0.8)

    found = []
    for pure in (False, True):
        defense = bench.defense("undefended", optimizer=optimizer())
        defense.student.layers[-1].kernel.constraint = keras.constraints.UnitNorm()
        found.append(trained(defense, bench, pure=pure))
    assert_alike(found)


@pytest.mark.parametrize("name", fast_for(["agkd_bml", "cat_ce", "igdm"], ["agkd_bml"]))
def test_a_whole_step_of_a_defense_is_that_of_fit(bench, name):
    found = both(bench, name, lambda: keras.optimizers.SGD(RATE, momentum=0.9), weight_decay=0.01)
    assert_alike(found)
    assert found[0][0][-1] == STEPS


@pytest.mark.parametrize("scale", [2.0, 2.0**30])
def test_a_scaled_loss_grows_its_scale_and_leaves_out_what_overflows(bench, scale):
    def optimizer():
        return keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(RATE, momentum=0.9), initial_scale=scale, dynamic_growth_steps=2
        )

    found = both(bench, "undefended", optimizer, dtype="mixed_float16")
    assert_alike(found)
    grown = float(found[0][1]["loss_scale"]) / scale
    assert grown == (4.0 if scale == 2.0 else 1 / 16)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (lambda: keras.optimizers.Adam(), "SGD. Received: Adam"),
        (lambda: keras.optimizers.SGD(clipnorm=1.0), "`clipnorm`.*1.0"),
        (lambda: keras.optimizers.SGD(use_ema=True, ema_overwrite_frequency=2), "`ema_overwrite_frequency`.*2"),
    ],
)
def test_another_optimizer_is_refused(bench, optimizer, message):
    with pytest.raises(InputError, match=message):
        PureStep(bench.defense("undefended", optimizer=optimizer()))
