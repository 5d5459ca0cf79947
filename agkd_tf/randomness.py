"""Stateless randomness: every draw is a function of a seed, so a resumed run equals an uninterrupted one.

The algorithm (`philox`) is always given explicitly, and floats are computed from integer draws. TensorFlow's
default algorithm, and its float draws with any algorithm, give different numbers under XLA.
"""

import zlib
from collections.abc import Sequence

import tensorflow as tf

from agkd_tf.distribution import replica_share

ALGORITHM = "philox"


def step_seed(seed: int | tf.Tensor, step: int | tf.Tensor) -> tf.Tensor:
    """Returns the int32 [2] seed of one training step."""
    return tf.stack([tf.cast(seed, tf.int32), tf.cast(step, tf.int32)])


def named_seed(seed: tf.Tensor, purpose: str) -> tf.Tensor:
    """Returns an int32 [2] seed for one purpose (a string) within a step or an evaluation.

    Different purposes get different random numbers, and adding a purpose does not change the others.
    """
    return fold_in(seed, zlib.crc32(purpose.encode()) & 0x7FFFFFFF)


def fold_in(seed: tf.Tensor, number: int | tf.Tensor) -> tf.Tensor:
    """Returns a new int32 [2] seed that depends on `seed` (int32 [2]) and an integer."""
    return tf.random.fold_in(tf.cast(seed, tf.int32), tf.cast(number, tf.int32), alg=ALGORITHM)


def variant_seed(seed: tf.Tensor, variant: int | tf.Tensor) -> tf.Tensor:
    """Returns an int32 [2] seed for one of several runs; for run 0 it is `seed` itself."""
    variant = tf.cast(variant, tf.int32)
    return tf.where(variant == 0, tf.cast(seed, tf.int32), fold_in(seed, variant))


def uniform(
    shape: Sequence[int] | tf.Tensor,
    seed: tf.Tensor,
    low: float | tf.Tensor = 0.0,
    high: float | tf.Tensor = 1.0,
    *,
    batch_axis: int = 0,
) -> tf.Tensor:
    """Draws float32 numbers of the given shape from U(low, high), for a training batch.

    With several replicas, each gets its part of the numbers that a single replica would draw for the whole batch.

    Args:
        shape: shape of this replica's part.
        seed: int32 [2].
        low, high: tensors that broadcast to the shape, or numbers.
        batch_axis: axis along which the batch is split among replicas.
    """
    return low + (high - low) * replica_share(lambda whole: _unit(whole, seed), shape, batch_axis)


def _unit(shape: Sequence[int] | tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    # TensorFlow's float draws differ under XLA even with the same algorithm; its integer draws do not.
    bits = tf.random.stateless_uniform(shape, seed, None, None, tf.uint32, alg=ALGORITHM)
    return tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24


def uniform_per_example(
    indices: tf.Tensor,
    shape: Sequence[int] | tf.Tensor,
    seed: tf.Tensor,
    low: float | tf.Tensor = 0.0,
    high: float | tf.Tensor = 1.0,
) -> tf.Tensor:
    """Draws float32 [B, *shape] numbers from U(low, high); row i depends on `seed` and `indices[i]` alone.

    Evaluation uses this, so that an adversarial example depends neither on its batch nor on the device.

    Args:
        indices: integer [B], each example's position in its data set.
        shape: shape of one row, without the batch axis.
        seed: int32 [2].
        low, high: numbers, or tensors that broadcast to `shape`.
    """
    return tf.map_fn(
        lambda index: low + (high - low) * _unit(shape, fold_in(seed, index)),
        tf.cast(indices, tf.int32),
        fn_output_signature=tf.TensorSpec(shape, tf.float32),
    )


def uniform_integers(shape: Sequence[int] | tf.Tensor, seed: tf.Tensor, high: int | tf.Tensor) -> tf.Tensor:
    """Draws int32 numbers in [0, high); `high` may be a tensor that broadcasts to `shape`."""
    high = tf.convert_to_tensor(high, tf.int32)
    scaled = tf.floor(uniform(shape, seed) * tf.cast(high, tf.float32))
    return tf.minimum(tf.cast(scaled, tf.int32), high - 1)


def normal(shape: Sequence[int] | tf.Tensor, seed: tf.Tensor, *, batch_axis: int = 0) -> tf.Tensor:
    """Draws float32 numbers of the given shape from N(0, 1); see `uniform`."""
    return _normal_quantile(uniform(shape, seed, batch_axis=batch_axis))


def normal_per_example(indices: tf.Tensor, shape: Sequence[int] | tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws float32 [B, *shape] numbers from N(0, 1); see `uniform_per_example`."""
    return _normal_quantile(uniform_per_example(indices, shape, seed))


def _normal_quantile(unit: tf.Tensor) -> tf.Tensor:
    # Use the middle of each of `uniform`'s 2^24 cells, since the quantile is infinite at 0 and 1.
    return tf.math.ndtri(tf.minimum(unit + 2.0**-25, 1.0 - 2.0**-24))


def uniform_simplex(batch: int | tf.Tensor, classes: int, seed: tf.Tensor) -> tf.Tensor:
    """Draws rows that are uniform on the simplex, Dirichlet(1, ..., 1): float32 [batch, classes]."""
    exponential = -tf.math.log1p(-uniform([batch, classes], seed))
    return exponential / tf.reduce_sum(exponential, axis=1, keepdims=True)
