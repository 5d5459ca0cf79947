"""Shared by all tests: quiet TensorFlow, a tiny network, a few real images."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import pathlib

import pytest

from agkd_tf.data import load_dataset
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
def cifar10_dir():
    """Folder with a prepared CIFAR-10, from AGKD_TF_DATA or beside the checkout; skips without one."""
    candidates = [os.environ.get("AGKD_TF_DATA"), ROOT.parent / "shared" / "data" / "tfds"]
    for folder in candidates:
        if folder and (pathlib.Path(folder) / "cifar10").is_dir():
            return str(folder)
    pytest.skip("no prepared CIFAR-10: set AGKD_TF_DATA to a tensorflow-datasets folder")


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="Rewrite the recorded values in tests/golden.")
