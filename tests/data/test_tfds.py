import numpy as np
import pytest
import tensorflow_datasets

from agkd_tf.data import load_dataset, tfds
from agkd_tf.errors import InputError
from tests.mocked import prepare_mocked


@pytest.mark.slow
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


# SVHN and CIFAR-100 cannot be had without a network: mocked images are read back as real ones would be.
# A set that has no name of its own here is read in the same way.
MOCKED = {
    "svhn_cropped": ((32, 32, 3), 10, "none"),
    "cifar100": ((32, 32, 3), 100, "crop_flip"),
    "fashion_mnist": ((28, 28, 1), 10, "none"),
}


@pytest.mark.parametrize("name", MOCKED)
def test_a_stock_builders_images_are_read_whole_and_with_their_labels(name, tmp_path):
    prepare_mocked(name, tmp_path)
    shape, classes, augmentation = MOCKED[name]
    dataset = load_dataset(name, data_dir=str(tmp_path), validation_examples=4)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (20, 4, 12)
    assert (dataset.image_shape, dataset.num_classes) == (shape, classes)
    assert dataset.augmentation == augmentation
    for split in (dataset.train, dataset.validation, dataset.test):
        np.testing.assert_array_equal(split.images[:, 0, 0, 0] % classes, split.labels)
    drawn = np.concatenate([dataset.train.images, dataset.validation.images])[:, 0, 0, 0]
    np.testing.assert_array_equal(np.sort(drawn), np.arange(24))


def test_a_set_without_a_test_split_is_refused(tmp_path):
    prepare_mocked("cifar100", tmp_path, splits=("train",))
    with pytest.raises(InputError, match=r"no 'validation' split. It has: train"):
        load_dataset("cifar100", data_dir=str(tmp_path))


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="`data_dir` is not a folder"):
        tfds.load("cifar10", data_dir=str(tmp_path / "nowhere"))


def test_an_unprepared_data_set_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(InputError, match=r"'cifar10' is not prepared .* `data_dir=PATH`.* `download=True`"):
        tfds.load("cifar10", data_dir=str(tmp_path))


@pytest.mark.parametrize("name", ["no_such_set", "", "a:b:c", "CIFAR 10", "no_such_set/9"])
def test_an_unknown_name_is_refused(name, tmp_path):
    with pytest.raises(InputError, match="not known to tensorflow-datasets"):
        tfds.load(name, data_dir=str(tmp_path))


@pytest.mark.parametrize("name", ["cifar10/9", "cifar10:9.9.9"])
def test_an_unknown_configuration_or_version_is_refused(name, tmp_path):
    with pytest.raises(
        InputError, match=f"'{name}': .* this configuration or version does not exist: Failed to construct"
    ):
        tfds.load(name, data_dir=str(tmp_path))


class Sentences(tensorflow_datasets.testing.DummyDataset):
    """A prepared data set of labels without images."""

    def _info(self):
        features = {
            "text": tensorflow_datasets.features.Text(),
            "label": tensorflow_datasets.features.ClassLabel(num_classes=2),
        }
        return self.dataset_info_from_configs(features=tensorflow_datasets.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {split: ((k, {"text": "a", "label": k}) for k in range(2)) for split in ("train", "test")}


def test_a_set_of_something_else_is_refused(tmp_path):
    builder = Sentences(data_dir=str(tmp_path))
    builder.download_and_prepare()
    with pytest.raises(
        InputError, match=r"'sentences' is not for image classification: it needs an `image` and a class `label`"
    ):
        tfds.read(builder)
