import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from agkd_tf.randomness import (
    fold_in,
    named_seed,
    normal,
    step_seed,
    uniform,
    uniform_integers,
    uniform_per_example,
    uniform_simplex,
)

SEED = (3, 7)


@pytest.mark.parametrize(
    "draw",
    [
        lambda seed: uniform([50], seed),
        lambda seed: uniform([50], seed, -0.1, 0.3),
        lambda seed: uniform_per_example(tf.constant([4, 9, 1]), (2, 5), seed, -0.1, 0.1),
        lambda seed: uniform_integers([50], seed, 1000),
        lambda seed: named_seed(seed, "flip"),
        lambda seed: 0.01 * normal([50], seed),
        lambda seed: uniform_simplex(5, 10, seed),
    ],
    ids=["uniform", "scaled", "uniform_per_example", "uniform_integers", "named_seed", "normal", "uniform_simplex"],
)
def test_a_draw_is_the_same_with_and_without_xla(draw):
    # The seed is an argument: XLA's own generator runs only for seeds that are unknown while tracing.
    compiled = tf.function(draw, jit_compile=True, autograph=False)
    np.testing.assert_allclose(compiled(tf.constant(SEED)), draw(tf.constant(SEED)), rtol=0, atol=1e-7)


def test_uniform_lies_between_its_bounds_and_fills_them():
    numbers = uniform([2000], SEED, -0.25, 0.5).numpy()
    assert numbers.min() >= -0.25
    assert numbers.max() < 0.5
    assert numbers.min() < -0.24
    assert numbers.max() > 0.49


def test_a_row_depends_on_its_index_and_the_seed_alone():
    rows = uniform_per_example(tf.constant([12, 5, 40]), (2, 3), SEED).numpy()
    np.testing.assert_array_equal(rows[1:2], uniform_per_example(tf.constant([5]), (2, 3), SEED))
    np.testing.assert_array_equal(rows[::-1], uniform_per_example(tf.constant([40, 5, 12]), (2, 3), SEED))
    assert not np.isin(rows[0], rows[1]).any()
    assert not np.isin(rows, uniform_per_example(tf.constant([12, 5, 40]), (2, 3), (3, 8))).any()


def test_rows_lie_between_their_bounds():
    rows = uniform_per_example(tf.range(40), (30,), SEED, -0.1, 0.1).numpy()
    assert np.abs(rows).max() <= 0.1
    assert rows.min() < -0.09
    assert rows.max() > 0.09


def test_seeds_of_different_steps_purposes_and_numbers_all_differ():
    seeds = [step_seed(0, 0), step_seed(0, 1), step_seed(1, 0)]
    seeds += [named_seed(seed, purpose) for seed in seeds[:3] for purpose in ("start", "flip", "pool")]
    seeds += [fold_in(seeds[0], number) for number in range(5)]
    assert len({tuple(seed.numpy()) for seed in seeds}) == len(seeds)


def test_a_named_seed_is_the_same_each_time():
    np.testing.assert_array_equal(named_seed(SEED, "start"), named_seed(tf.constant(SEED), "start"))


@pytest.mark.parametrize("high", [1, 2, 9])
def test_integers_cover_their_range_evenly(high):
    counts = np.bincount(uniform_integers([9000], SEED, high).numpy(), minlength=high)
    assert len(counts) == high
    np.testing.assert_allclose(counts, 9000 / high, rtol=0.15)


def test_each_integer_may_have_its_own_range():
    highs = np.array([1, 3, 50], np.int32)
    numbers = uniform_integers([500, 3], SEED, highs).numpy()
    assert numbers.min() >= 0
    np.testing.assert_array_equal(numbers.max(axis=0), highs - 1)


def test_normal_numbers_follow_their_distribution_and_are_finite():
    numbers = normal([200_000], SEED).numpy()
    assert np.all(np.isfinite(numbers))
    assert scipy.stats.kstest(numbers, "norm").pvalue > 1e-4


def test_the_simplex_is_filled_uniformly():
    rows = uniform_simplex(20_000, 3, SEED).numpy()
    assert rows.min() >= 0
    np.testing.assert_allclose(rows.sum(1), 1, rtol=1e-5)
    # A coordinate of Dirichlet(1, 1, 1) is Beta(1, 2).
    assert scipy.stats.kstest(rows[:, 0], "beta", args=(1, 2)).pvalue > 1e-4
