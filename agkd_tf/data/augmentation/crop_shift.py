"""CropShift: crops an image, and puts the crop at a random place on black."""

import tensorflow as tf

from agkd_tf.errors import InputError
from agkd_tf.randomness import named_seed, uniform_integers


def crop_shift(images: tf.Tensor, seed: tf.Tensor, *, low: int, high: int) -> tf.Tensor:
    """Crops images by l pixels in all, and puts each crop at a random place of a black image of the old size.

    l is uniform in low, ..., high - 1; the width loses a uniform part of it, 0 to l, the height the rest. The crop is
    taken from a uniform place, and put at another. All draws are per image.

    Args:
        images: float32 [B, H, W, C].
        seed: int32 [2].
        low, high: smallest number of pixels, and the largest plus 1.

    Returns:
        float32 [B, H, W, C].

    Raises:
        InputError: for images with a side shorter than `high`.

    Source: Li and Spratling, Data Augmentation Alone Can Improve Adversarial Training, ICLR 2023, section 3.1.
    """
    batch, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    if min(height, width) < high:
        raise InputError(
            f"`augmentation` with CropShift needs images of at least {high} x {high} pixels. "
            f"Received: {height} x {width}; crop_flip and none have no such limit"
        )
    lost = low + uniform_integers([batch], named_seed(seed, "shift_lost"), high - low)
    lost_width = uniform_integers([batch], named_seed(seed, "shift_lost_width"), lost + 1)
    shifted = _shift(images, lost - lost_width, seed, axis=1)
    return _shift(shifted, lost_width, seed, axis=2)


def _shift(images: tf.Tensor, lost: tf.Tensor, seed: tf.Tensor, *, axis: int) -> tf.Tensor:
    """Crops images along an axis by `lost`, int32 [B], and moves the crops."""
    batch, size = tf.shape(images)[0], images.shape[axis]
    taken_from = uniform_integers([batch], named_seed(seed, f"shift_from_{axis}"), lost + 1)
    put_at = uniform_integers([batch], named_seed(seed, f"shift_to_{axis}"), lost + 1)
    place = tf.range(size) - put_at[:, None]  # within the crop
    within = tf.logical_and(place >= 0, place < (size - lost)[:, None])
    source = tf.where(within, taken_from[:, None] + place, 0)
    moved = tf.gather(images, source, axis=axis, batch_dims=1)
    moved.set_shape(images.shape)
    kept = within[:, :, None, None] if axis == 1 else within[:, None, :, None]
    return tf.where(kept, moved, tf.zeros_like(moved))
