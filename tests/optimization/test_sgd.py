"""SGD in PyTorch's form, beside what PyTorch 2.14 computes in float64 for the same gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.errors import InputError
from agkd_tf.optimization import SGD, OneCycle, cycled_momentum, step_decay

MATRIX, VECTOR = np.array([[3.0, 1.0], [1.0, 2.0]], np.float32), np.array([1.0, -1.0], np.float32)
DROPS = step_decay(0.1, decay_epochs=(5, 9), decay_rate=0.1, steps_per_epoch=1)
# torch.optim.SGD(lr=0.1, momentum=0.9, weight_decay=0.01) with MultiStepLR([5, 9], 0.1): weights after some steps.
WITH_DROPS = {
    False: {4: (-0.255944645, -2.070878881), 5: (-0.188973233, -2.084436415), 13: (0.247787351, -1.870895775)},
    True: {4: (0.568578304, -1.560292925), 5: (0.606459043, -1.561200887), 13: (0.745868017, -1.454073188)},
}
# The same without weight decay, with OneCycleLR(0.1, total_steps=14), which changes the momentum, too.
ONE_CYCLE = {4: (-1.006141652, -2.043832111), 9: (1.669197248, -1.721148955), 13: (1.828586252, -1.460476618)}


def descended(optimizer, *, steps=14, weight_decay=0.0):
    """Returns the weights after each step of minimizing w^T A w / 2 - b^T w from (1, 2)."""
    weights, found = keras.Variable([1.0, 2.0]), []
    for _ in range(steps):
        gradient = tf.linalg.matvec(MATRIX, weights.value) - VECTOR + weight_decay * weights.value
        optimizer.apply_gradients([(gradient, weights)])
        found.append(weights.numpy())
    return found


def again(optimizer):
    """The optimizer, as a `.keras` file would give it back."""
    return keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_drop_of_the_rate_applies_at_once_as_in_pytorch(nesterov):
    found = descended(again(SGD(DROPS, momentum=0.9, nesterov=nesterov)), weight_decay=0.01)
    for step, expected in WITH_DROPS[nesterov].items():
        np.testing.assert_allclose(found[step], expected, atol=1e-6)
    # Keras' own form goes on at the old rate: it is right before the drop, and wrong after it.
    kept = descended(keras.optimizers.SGD(DROPS, momentum=0.9, nesterov=nesterov), weight_decay=0.01)
    np.testing.assert_allclose(kept[4], WITH_DROPS[nesterov][4], atol=1e-6)
    assert np.abs(kept[13] - WITH_DROPS[nesterov][13]).max() > 0.1


def test_a_cycle_of_rate_and_momentum_is_that_of_pytorch():
    optimizer = SGD(OneCycle(0.1, 14), momentum=0.9, momentum_schedule=cycled_momentum("one_cycle", steps=14))
    found = descended(again(optimizer))
    for step, expected in ONE_CYCLE.items():
        np.testing.assert_allclose(found[step], expected, atol=2e-6)


@pytest.mark.parametrize("nesterov", [False, True])
def test_at_a_constant_rate_it_is_that_of_keras(nesterov):
    ours = descended(SGD(0.05, momentum=0.9, nesterov=nesterov))
    keras_own = descended(keras.optimizers.SGD(0.05, momentum=0.9, nesterov=nesterov))
    np.testing.assert_allclose(ours, keras_own, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(descended(SGD(0.05)), descended(keras.optimizers.SGD(0.05)), rtol=1e-6)


@pytest.mark.parametrize("warmup", [0, 6])
def test_the_average_begins_as_a_copy_and_forgets_less_and_less(warmup):
    optimizer = again(SGD(0.05, momentum=0.9, use_ema=True, ema_momentum=0.3, ema_warmup=warmup))
    weights, average = keras.Variable([1.0, 2.0]), None
    for step in range(1, 15):
        optimizer.apply_gradients([(tf.linalg.matvec(MATRIX, weights.value) - VECTOR, weights)])
        now, after = weights.numpy(), step - warmup
        kept = 0.0 if after < 0 or step == 1 else min(0.3, (1 + after) / (10 + after))
        average = now if average is None else kept * average + (1 - kept) * now
        (own,) = [variable for variable in optimizer.variables if "average" in variable.path]
        np.testing.assert_allclose(own.numpy(), average, rtol=1e-5, atol=1e-6)
    optimizer.finalize_variable_values([weights])
    np.testing.assert_allclose(weights.numpy(), average, rtol=1e-5, atol=1e-6)


def test_a_momentum_of_zero_gives_the_weights_themselves():
    optimizer, weights = SGD(0.05, use_ema=True, ema_momentum=0.0, ema_warmup=2), keras.Variable([1.0, 2.0])
    for _ in range(4):
        optimizer.apply_gradients([(tf.constant([1.0, 1.0]), weights)])
    before = weights.numpy()
    optimizer.finalize_variable_values([weights])
    np.testing.assert_array_equal(weights.numpy(), before)


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match="momentum"):
        SGD(0.1, momentum=1.5)
    with pytest.raises(InputError, match="ema_warmup"):
        SGD(0.1, use_ema=True, ema_warmup=-1)
