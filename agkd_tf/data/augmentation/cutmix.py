"""CutMix: pastes a box of one image of a batch into another, and mixes their labels by area."""

import tensorflow as tf

from agkd_tf.randomness import fold_in, named_seed, uniform, uniform_integers


def cutmix(
    images: tf.Tensor,
    labels: tf.Tensor,
    num_classes: int,
    seed: tf.Tensor,
    *,
    window: int | None = None,
    copies: int = 1,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Pastes the same box of a permuted batch into the batch, and mixes the labels by what is left of each image.

        lam ~ U(0, 1), which is Beta(1, 1); sides 2 floor(floor(S sqrt(1 - lam)) / 2), for a side S of the image
        x_mix = the box of x_permuted, x elsewhere
        y_mix = lam' y + (1 - lam') y_permuted, with lam' the share of the image outside the box

    The box's centre is a uniform pixel, and what lies outside the image is left out. One box and one permutation are
    drawn per copy of the batch; each of several replicas draws its own, within its part of the batch.

    Args:
        images: float32 [B, H, W, C].
        labels: int32 [B].
        num_classes: n.
        seed: int32 [2].
        window: side of the box in pixels, before it is rounded down to an even number; None to draw lam.
        copies: number of differently mixed copies, which are concatenated.

    Returns:
        (images float32 [copies * B, H, W, C], soft labels float32 [copies * B, n]).

    Source: Yun et al., CutMix, ICCV 2019; Rebuffi et al., Data Augmentation Can Improve Robustness, NeurIPS 2021, which
    has a fixed window of 20, and 4 copies.
    """
    one_hot = tf.one_hot(labels, num_classes)
    mixed = [_one_copy(images, one_hot, fold_in(named_seed(seed, "cutmix"), copy), window) for copy in range(copies)]
    pixels, soft_labels = zip(*mixed, strict=True)
    return tf.concat(pixels, 0), tf.concat(soft_labels, 0)


def _one_copy(
    images: tf.Tensor, one_hot: tf.Tensor, seed: tf.Tensor, window: int | None
) -> tuple[tf.Tensor, tf.Tensor]:
    height, width = images.shape[1], images.shape[2]
    root = tf.sqrt(1.0 - uniform([1], named_seed(seed, "lam"))[0])
    rows, columns = (
        _range(size, tf.floor(size * root) if window is None else float(window), named_seed(seed, f"centre_{axis}"))
        for axis, size in enumerate((height, width))
    )
    box = tf.logical_and(rows[:, None], columns)
    area = tf.reduce_sum(tf.cast(box, tf.float32)) / (height * width)
    order = tf.argsort(uniform([tf.shape(images)[0]], named_seed(seed, "order")), stable=True)
    pixels = tf.where(box[None, :, :, None], tf.gather(images, order), images)
    return pixels, (1.0 - area) * one_hot + area * tf.gather(one_hot, order)


def _range(size: int, side: tf.Tensor | float, seed: tf.Tensor) -> tf.Tensor:
    """Returns whether each of `size` pixels is within `side` pixels around a uniform one, bool [size]."""
    half = tf.cast(side, tf.int32) // 2
    centre = uniform_integers([1], seed, size)[0]
    places = tf.range(size)
    return tf.logical_and(places >= centre - half, places < centre + half)
