import socket

import numpy as np
import pytest

from agkd_tf.data import load_dataset
from agkd_tf.errors import InputError


def test_a_tenth_is_validation_unless_told_otherwise():
    dataset = load_dataset("digits")
    assert (len(dataset.train), len(dataset.validation)) == (1258, 139)


def test_train_examples_bounds_the_training_split():
    few, all_of_them = load_dataset("digits", train_examples=50), load_dataset("digits", train_examples=0)
    assert len(few.train) == 50
    assert len(all_of_them.train) == 1258
    assert not (few.validation.images[:, None] == few.train.images).all(axis=(2, 3, 4)).any()


def test_class_names_count_the_classes():
    dataset = load_dataset("digits")
    assert dataset.class_names == tuple("0123456789")
    assert dataset.num_classes == np.max(dataset.train.labels) + 1


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match=r"must be one of cifar10, cifar100, digits, .* Received: 'no_such_set'"):
        load_dataset("no_such_set")


@pytest.mark.parametrize("name", ["huggingface:mnist", "kaggle:x/y", "a:", ":mnist", "huggingface:mnist:plain"])
def test_data_of_others_is_not_fetched_by_its_name(name):
    with pytest.raises(InputError, match=r"without a namespace. Received"):
        load_dataset(name)


@pytest.mark.parametrize(
    "name", ["cifar10", "svhn_cropped", "tiny_imagenet", "mnist", "no_such_set", "huggingface:mnist"]
)
def test_nothing_is_fetched_unasked(name, tmp_path, monkeypatch):
    tried = []

    def connect(self, address):
        tried.append(address)
        raise OSError("no network here")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: connect(None, address))
    with pytest.raises(InputError):
        load_dataset(name, data_dir=str(tmp_path))
    assert tried == []


def test_digits_have_the_size_asked_for():
    assert load_dataset("digits", image_size=32).image_shape == (32, 32, 1)


@pytest.mark.parametrize("sizes", [{"train_examples": 1397}, {"validation_examples": 1397}, {"train_examples": 5000}])
def test_more_examples_than_there_are_are_refused(sizes):
    with pytest.raises(InputError, match="examples"):
        load_dataset("digits", **sizes)
