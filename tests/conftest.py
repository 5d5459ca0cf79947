"""Shared by all tests: quiet TensorFlow, a tiny network, a few real images."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # what the tests expect of devices and memory is a CPU's

import pathlib
import subprocess

import keras
import numpy as np
import pytest
from keras import layers

from agkd_tf.data import Examples, load_dataset
from agkd_tf.models import build_model

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def digits():
    """The digits, as an `ImageDataset` with 200 validation images."""
    return load_dataset("digits", validation_examples=200)


@pytest.fixture
def tiny_model():
    """A fresh WRN-10-1 for the digits; the same initial weights each time."""
    return build_model("wrn-10-1", image_shape=(16, 16, 1), num_classes=10)


@pytest.fixture(scope="session")
def smooth_network():
    """Returns, for an image shape, a small smooth network whose gradients have no ties; always the same weights."""

    def build(image_shape):
        normal = keras.initializers.RandomNormal
        return keras.Sequential(
            [
                keras.Input(image_shape),
                layers.Conv2D(6, 3, activation="tanh", kernel_initializer=normal(stddev=0.3, seed=1)),
                layers.Flatten(),
                layers.Dense(10, kernel_initializer=normal(stddev=0.2, seed=2)),
            ]
        )

    return build


@pytest.fixture(scope="session")
def fragile(digits, smooth_network):
    """(network, 30 digits labelled as it sees them): all correct, and an eps of 0.01 breaks about half of them."""
    network, images = smooth_network((16, 16, 1)), digits.test.images[:30]
    seen = network.predict(images / np.float32(255), verbose=0).argmax(1)
    return network, Examples(images, seen.astype(np.int32))


@pytest.fixture(scope="session")
def cifar10_dir():
    """Folder with a prepared CIFAR-10, from AGKD_TF_DATA or beside the checkout; skips without one."""
    candidates = [os.environ.get("AGKD_TF_DATA"), ROOT.parent / "shared" / "data" / "tfds"]
    for folder in candidates:
        if folder and (pathlib.Path(folder) / "cifar10").is_dir():
            return str(folder)
    pytest.skip("no prepared CIFAR-10: set AGKD_TF_DATA to a tensorflow-datasets folder")


@pytest.fixture(scope="session")
def small():
    """Flags of a training that takes seconds."""
    data = ("--dataset=digits", "--train_examples=64", "--validation_examples=20", "--eps=38/255")
    return (
        *data,
        "--model=wrn-10-1",
        "--batch_size=32",
        "--epochs=1",
        "--decay_epochs=",
        "--validation_attack_steps=1",
    )


@pytest.fixture
def start():
    """Returns start(*command, **settings): the `subprocess.Popen` of a command, killed when the test ends."""
    processes = []

    def run(*command, **settings):
        processes.append(subprocess.Popen([str(word) for word in command], cwd=ROOT, text=True, **settings))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="Rewrite the recorded values in tests/golden.")


def pytest_configure(config):
    if config.getoption("--update-golden") and config.getoption("numprocesses", None):
        raise pytest.UsageError("--update-golden writes files that tests share: add -n 0")
