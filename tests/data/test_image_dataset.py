import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.data.image_dataset import Examples, ImagesOnDisk, check_examples
from agkd_tf.errors import InputError

IMAGES, LABELS = np.zeros((3, 4, 4, 1), np.uint8), np.array([0, 2, 1], np.int32)


def test_take_keeps_image_and_label_together_in_the_order_asked_for():
    examples = Examples(np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1), LABELS)
    taken = examples.take(np.array([2, 0]))
    np.testing.assert_array_equal(taken.images.ravel(), [2, 0])
    np.testing.assert_array_equal(taken.labels, [1, 0])
    assert len(examples.take(slice(2))) == 2


def test_sound_examples_pass():
    check_examples("toy/train", Examples(IMAGES, LABELS), 3)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES.astype(np.float32), LABELS, r"images must be uint8 \[N, H, W, C\]. Received: float32"),
        (IMAGES[..., 0], LABELS, r"images must be uint8 \[N, H, W, C\]. Received: uint8 \[3, 4, 4\]"),
        (IMAGES, LABELS[:2], "3 images but 2 labels"),
        (IMAGES, LABELS + 1, r"labels must be in \[0, 2\]. Received: 1 to 3"),
        (IMAGES, LABELS - 1, r"labels must be in \[0, 2\]. Received: -1 to 1"),
    ],
)
def test_unsound_examples_are_refused_by_name(images, labels, message):
    with pytest.raises(InputError, match=f"toy/train: {message}"):
        check_examples("toy/train", Examples(images, labels), 3)


def test_images_on_a_disk_are_read_when_they_are_asked_for(tmp_path):
    array = np.arange(10 * 12, dtype=np.uint8).reshape(10, 2, 2, 3)
    np.save(tmp_path / "images.npy", array)
    images = ImagesOnDisk(np.load(tmp_path / "images.npy", mmap_mode="r"), np.arange(10))
    examples = Examples(images, np.arange(10, dtype=np.int32) % 3)
    some = examples.take(np.array([7, 1, 4])).take(slice(1, 3))
    assert isinstance(some.images, ImagesOnDisk)
    assert (some.images.shape, some.images.ndim, some.images.dtype) == ((2, 2, 2, 3), 4, np.uint8)
    np.testing.assert_array_equal(some.labels, [1, 1])
    np.testing.assert_array_equal(np.asarray(some.images), array[[1, 4]])
    np.testing.assert_array_equal(tf.constant(some.images), array[[1, 4]])
    assert not isinstance(some.images[0:1], np.memmap)
    check_examples("a split", some, 3)


@pytest.fixture
def some():
    """2500 images of one pixel: more than are read at once."""
    return Examples((np.arange(2500) % 256).astype(np.uint8).reshape(-1, 1, 1, 1), np.zeros(2500, np.int32))


@pytest.mark.parametrize("place", [0, 1700, 2499])
def test_any_other_image_or_label_is_another_digest(some, place):
    digests = {some.digest()}
    for name in ("images", "labels"):
        array = getattr(some, name).copy()
        array[place] += 1
        digests.add(dataclasses.replace(some, **{name: array}).digest())
    assert len(digests) == 3
    assert some.take(slice(0, 2499)).digest() not in digests


def test_where_images_lie_does_not_matter(some, tmp_path):
    np.save(tmp_path / "images.npy", some.images[::-1])
    source = np.load(tmp_path / "images.npy", mmap_mode="r")
    on_disk = Examples(ImagesOnDisk(source, np.arange(2500)[::-1]), some.labels)
    assert on_disk.digest() == some.digest()
