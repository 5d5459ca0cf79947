import numpy as np
import pytest

from agkd_tf.data import tfds
from agkd_tf.errors import InputError


def test_cifar10_has_its_published_sizes(cifar10_dir):
    train, test, names, augmentation = tfds.load("cifar10", data_dir=cifar10_dir)
    assert (len(train), len(test)) == (50_000, 10_000)
    assert train.images.shape == (50_000, 32, 32, 3)
    assert train.images.dtype == np.uint8
    assert (names[0], names[3], len(names)) == ("airplane", "cat", 10)
    assert augmentation == "crop_flip"
    np.testing.assert_array_equal(np.bincount(train.labels), np.full(10, 5000))
    np.testing.assert_array_equal(np.bincount(test.labels), np.full(10, 1000))
    assert train.images[-100:].any(axis=(1, 2, 3)).all()  # read to the end


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="`data_dir` is not a folder"):
        tfds.load("cifar10", data_dir=str(tmp_path / "nowhere"))


def test_an_unprepared_data_set_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(InputError, match=r"'cifar10' is not prepared .* --data_dir, or --download"):
        tfds.load("cifar10", data_dir=str(tmp_path))


def test_an_unknown_name_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"not known to tensorflow-datasets. Received: 'no_such_set'"):
        tfds.load("no_such_set", data_dir=str(tmp_path))
