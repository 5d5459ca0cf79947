import numpy as np

from agkd_tf.data import load_dataset


def test_the_digits_are_16x16_bytes_of_ten_classes(digits):
    assert digits.num_classes == 10
    assert digits.image_shape == (16, 16, 1)
    for name in ("train", "validation", "test"):
        split = digits.split(name)
        assert split.images.dtype == np.uint8
        assert split.images.shape == (len(split), 16, 16, 1)
        assert set(split.labels) == set(range(10))


def test_the_digits_are_1797_images_in_three_disjoint_parts(digits):
    assert [len(digits.split(name)) for name in ("train", "validation", "test")] == [1197, 200, 400]
    everything = np.concatenate([digits.split(name).images for name in ("train", "validation", "test")])
    assert len(np.unique(everything.reshape(1797, -1), axis=0)) == 1797


def test_pixels_use_the_whole_range(digits):
    assert digits.test.images.min() == 0
    assert digits.test.images.max() == 255


def test_the_test_split_does_not_depend_on_the_division_of_the_rest(digits):
    np.testing.assert_array_equal(load_dataset("digits", train_examples=100).test.images, digits.test.images)
