"""tf.data pipelines over `Examples`."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from agkd_tf.data.extra import Extra, own_per_batch
from agkd_tf.data.image_dataset import Examples, ImagesOnDisk
from agkd_tf.distribution import WHOLE, Share
from agkd_tf.errors import InputError, check_range
from agkd_tf.randomness import ALGORITHM, named_seed, step_seed


def training_batches(
    examples: Examples,
    *,
    batch_size: int,
    seed: int,
    first_step: int = 0,
    share: Share = WHOLE,
    with_images: bool = True,
    extra: Extra | None = None,
) -> tf.data.Dataset:
    """Returns an endless tf.data.Dataset of shuffled training batches.

    Batch number k depends on (seed, k) alone: a run resumed at step k continues with exactly the batches that an
    uninterrupted run would have seen. Each epoch is one pass over a new permutation; the remainder that does not
    fill a batch is dropped.

    With auxiliary images, `extra.per_batch` images of each batch are auxiliary, spread evenly over it, so that each
    part has its share. They are drawn with replacement. An epoch is still one pass over the `examples`.

    Args:
        examples: `Examples`.
        batch_size: images per batch; of `examples`, at most `len(examples)`.
        seed: integer.
        first_step: number of the first batch that the dataset yields.
        share: `agkd_tf.distribution.Share`: the parts of each batch to yield, one element per part.
        with_images: False leaves out `image`, for a defense that keeps the images on its device.
        extra: `Extra`, the auxiliary images; None for batches of `examples` alone.

    Returns:
        A dataset of dicts: `image` uint8 [B, H, W, C]; `label` int32 [B]; `index` int32 [B], the
        examples' positions in the split, and -1 for auxiliary images. Images on disk are prefetched.

    Raises:
        InputError: if a batch is larger than the data, or cannot be divided evenly among the replicas.
    """
    extra_size = 0 if extra is None else extra.per_batch
    own_size = own_per_batch(batch_size, extra_size, len(examples))
    size = _part_size(batch_size, share)
    count, steps = len(examples), len(examples) // own_size
    extended = None if extra is None else _extended(extra, batch_size, seed)
    gather, labels = _host_images(examples) if with_images else None, _on_host(examples.labels)

    def batch(number: tf.Tensor) -> dict[str, tf.Tensor]:
        step, part = number // share.parts, share.first + number % share.parts
        epoch, place = step // steps, step % steps
        slots = part * size + tf.range(size, dtype=tf.int64)  # within the batch
        places = slots if extended is None else slots - _extra_before(slots, batch_size, extra_size)
        # An auxiliary slot has the place of the next own one, which the last epoch's end may lack.
        positions = tf.minimum(place * own_size + places, count - 1)
        order_seed = tf.stack([tf.cast(seed, tf.int64), epoch])
        index = tf.random.experimental.index_shuffle(positions, order_seed, count - 1)
        index = tf.ensure_shape(index, [size])
        images = {} if gather is None else {"image": gather(index)}
        found = images | {"label": tf.gather(labels, index), "index": tf.cast(index, tf.int32)}
        return found if extended is None else extended(found, step, slots)

    endless = tf.data.Dataset.counter(first_step * share.parts)
    return endless.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)


def _extended(
    extra: Extra, batch_size: int, seed: int
) -> Callable[[dict[str, tf.Tensor], tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]:
    """Returns a callable, (part of a batch, its step, its slots in the batch) -> the part with auxiliary images."""
    gather, labels = _host_images(extra.examples), _on_host(extra.examples.labels)

    def extended(part: dict[str, tf.Tensor], step: tf.Tensor, slots: tf.Tensor) -> dict[str, tf.Tensor]:
        draw_seed = named_seed(step_seed(seed, step), "extra_data")
        count = tf.constant(len(extra.examples), tf.int64)
        drawn = tf.random.stateless_uniform([extra.per_batch], draw_seed, 0, count, tf.int64, alg=ALGORITHM)
        before, after = (_extra_before(slots + shift, batch_size, extra.per_batch) for shift in (0, 1))
        taken = tf.gather(drawn, tf.minimum(before, extra.per_batch - 1))
        is_extra = after > before
        others = {"label": tf.gather(labels, taken), "index": -tf.ones_like(part["index"])}
        if "image" in part:
            others["image"] = gather(taken)
        return {
            name: tf.where(tf.reshape(is_extra, [-1] + [1] * (value.shape.rank - 1)), others[name], value)
            for name, value in part.items()
        }

    return extended


def _extra_before(slots: tf.Tensor, batch_size: int, extra_size: int) -> tf.Tensor:
    """Returns how many slots of a batch before each of `slots`, int64 [B], are of auxiliary images."""
    return slots * extra_size // batch_size


def evaluation_batches(examples: Examples, *, batch_size: int, share: Share = WHOLE) -> tf.data.Dataset:
    """Returns a finite tf.data.Dataset over `examples` in order, in batches of one size.

    The last batch is padded with copies of its first image whose `valid` is 0, so that a compiled
    function sees only one shape.

    Args:
        examples: `Examples`.
        batch_size: images per batch.
        share: as in `training_batches`.

    Returns:
        A dataset of dicts: `image` uint8 [B, H, W, C]; `label` int32 [B]; `index` int32 [B];
        `valid` float32 [B] (1, or 0 for padding).
    """
    check_range("batch_size", batch_size, 1)
    count, size = len(examples), _part_size(batch_size, share)
    gather, labels = _host_images(examples), _on_host(examples.labels)

    def batch(number: tf.Tensor) -> dict[str, tf.Tensor]:
        step, part = number // share.parts, share.first + number % share.parts
        positions = step * batch_size + part * size + tf.range(size, dtype=tf.int64)
        valid = positions < count
        index = tf.where(valid, positions, step * batch_size)
        return {
            "image": gather(index),
            "label": tf.gather(labels, index),
            "index": tf.cast(index, tf.int32),
            "valid": tf.cast(valid, tf.float32),
        }

    parts = tf.data.Dataset.range(-(-count // batch_size) * share.parts)
    return parts.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)


def _on_host(array: np.ndarray) -> tf.Tensor:
    with tf.device("CPU"):  # the host gathers; only batches travel to the accelerator
        return tf.constant(array)


def _host_images(examples: Examples) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a callable for a tf.data pipeline: int64 [B] positions -> uint8 [B, H, W, C] images."""
    source = examples.images
    if not isinstance(source, ImagesOnDisk):
        images = _on_host(source)
        return lambda index: tf.gather(images, index)

    def gather(index: tf.Tensor) -> tf.Tensor:
        images = tf.numpy_function(lambda places: source[places], [index], tf.uint8, stateful=False)
        return tf.ensure_shape(images, [*index.shape, *source.shape[1:]])

    return gather


def _part_size(batch_size: int, share: Share) -> int:
    if batch_size % share.replicas:
        raise InputError(f"`batch_size` must be divisible by the {share.replicas} replicas. Received: {batch_size}")
    return batch_size // share.replicas
