"""Learning rate schedules, beside what PyTorch gives at the same steps."""

import keras
import numpy as np
import pytest

from agkd_tf.errors import InputError
from agkd_tf.optimization import (
    SCHEDULES,
    OneCycle,
    Triangle,
    WarmUp,
    cosine_decay,
    cycled_momentum,
    learning_rate_schedule,
    step_decay,
)


def again(schedule):
    """The schedule, as a `.keras` file would give it back."""
    return keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))


def test_the_lower_rate_applies_from_the_milestones_first_step():
    rate = step_decay(0.1, decay_epochs=(2, 3), decay_rate=0.1, steps_per_epoch=10)
    assert [round(float(rate(step)), 6) for step in (0, 19, 20, 29, 30)] == [0.1, 0.1, 0.01, 0.01, 0.001]


# What PyTorch 2.14's OneCycleLR(max_lr, total_steps) gives at some steps.
@pytest.mark.parametrize(
    ("peak", "steps", "rates"),
    [
        (
            0.1,
            100,
            {0: 0.004, 1: 0.00428137806, 10: 0.0295163948, 29: 0.1, 30: 0.0999496535, 64: 0.0500002, 99: 4e-07},
        ),
        (0.4, 37, {0: 0.016, 5: 0.205014052, 10: 0.399907126, 11: 0.398809438, 20: 0.272315372, 36: 1.6e-06}),
    ],
)
def test_one_cycle_is_that_of_pytorch(peak, steps, rates):
    schedule = again(OneCycle(peak, steps))
    for step, rate in rates.items():
        assert float(schedule(step)) == pytest.approx(rate, abs=1e-7)
    assert float(schedule(steps + 5)) == float(schedule(steps - 1))


def test_a_cycle_in_straight_lines_is_that_of_pytorch():
    # CyclicLR(base_lr=0, max_lr=0.2, step_size_up=20, step_size_down=20), and its momentum from 0.8 to 0.9.
    schedule, momentum = again(Triangle(0.2, 40)), again(cycled_momentum("cyclic", steps=40))
    for step, share in {0: 0.0, 1: 0.05, 10: 0.5, 20: 1.0, 30: 0.5, 39: 0.05}.items():
        assert float(schedule(step)) == pytest.approx(0.2 * share, abs=1e-7)
        assert float(momentum(step)) == pytest.approx(0.9 - 0.1 * share, abs=1e-7)
    peak_at_two_fifths = Triangle(0.3, 50, rising=0.4)
    assert [round(float(peak_at_two_fifths(step)), 6) for step in (10, 20, 35, 50, 60)] == [0.15, 0.3, 0.15, 0.0, 0.0]


def test_the_momentum_of_one_cycle_falls_while_the_rate_rises():
    # OneCycleLR(0.1, total_steps=100) with its default cycle_momentum.
    momentum = again(cycled_momentum("one_cycle", steps=100))
    for step, value in {0: 0.95, 10: 0.923420500, 29: 0.85, 64: 0.9, 99: 0.95}.items():
        assert float(momentum(step)) == pytest.approx(value, abs=1e-6)


def test_a_cosine_falls_to_zero_after_its_warm_up():
    schedule = again(cosine_decay(0.2, steps=110, rising=1 / 11))
    expected = [0.2 * step / 10 if step < 10 else 0.1 * (1 + np.cos(np.pi * (step - 10) / 100)) for step in range(110)]
    np.testing.assert_allclose([float(schedule(step)) for step in range(110)], expected, atol=1e-7)
    assert float(cosine_decay(0.2, steps=110)(0)) == pytest.approx(0.2)


def test_a_warm_up_lowers_the_first_rates_alone():
    schedule = again(WarmUp(step_decay(0.1, decay_epochs=(2,), decay_rate=0.1, steps_per_epoch=10), 5))
    rates = [float(schedule(step)) for step in (0, 1, 4, 5, 19, 20)]
    np.testing.assert_allclose(rates, [0.0, 0.02, 0.08, 0.1, 0.1, 0.01], rtol=1e-6)
    assert float(again(WarmUp(0.1, 4))(1)) == pytest.approx(0.025)


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_has_a_warm_up_of_the_length_that_is_asked_for(name):
    rates = np.array(
        [
            float(rate) if isinstance(rate, float) else float(rate(step))
            for rate in [learning_rate_schedule(name, 0.1, epochs=10, steps_per_epoch=10, rising=0.2)]
            for step in range(100)
        ]
    )
    assert rates.max() == pytest.approx(0.1, rel=1e-6)
    assert abs(int(rates.argmax()) - 20) <= 1  # PyTorch counts the peak of one cycle a step earlier
    assert np.all(np.diff(rates[:20]) > 0)
    own = learning_rate_schedule(name, 0.1, epochs=10, steps_per_epoch=10)
    first = own if isinstance(own, float) else float(own(0))
    assert (first == pytest.approx(0.1)) == (SCHEDULES[name] == 0.0)


def test_what_cannot_be_scheduled_is_refused():
    with pytest.raises(InputError, match=r"needs at least 4 optimizer steps: .* Received: 3"):
        OneCycle(0.1, 3)
    assert float(OneCycle(0.1, 4)(0)) < 0.1
    with pytest.raises(InputError, match="must not rise all the time"):
        cosine_decay(0.1, steps=10, rising=1.0)
    with pytest.raises(InputError, match=r"`rising` must be in \(0, 1\)"):
        Triangle(0.1, 10, rising=1.0)
    with pytest.raises(InputError, match="one_cycle or cyclic alone"):
        cycled_momentum("step", steps=10)
    with pytest.raises(InputError, match="`schedule` must be one of"):
        learning_rate_schedule("linear", 0.1, epochs=1, steps_per_epoch=1)
