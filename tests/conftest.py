"""Shared by all tests: quiet TensorFlow, a tiny network, a few real images."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # what the tests expect of devices and memory is a CPU's
# Tests run in as many processes as there are cores, on small images: to share an operation costs more than it saves.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

# XLA's programs run for a moment here: to have LLVM make them faster takes longer than they run.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import tools  # noqa: F401, I001  before TensorFlow: it sets the switches that the command lines have

import gc
import pathlib

import hypothesis
import keras
import numpy as np
import pytest
from keras import layers
from tensorflow.python.framework import ops

from agkd_tf.data import Examples, load_dataset
from agkd_tf.models import build_model
import tests.networks  # noqa: F401  `tiny` among the networks
from tests.processes import Process, run_tool, stop_the_server

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
        "--model=tiny",
        "--batch_size=32",
        "--epochs=1",
        "--decay_epochs=",
        "--validation_attack_steps=1",
        "--panel_every=0",
    )


@pytest.fixture
def start(tmp_path_factory):
    """Returns start(function, *arguments, **settings): a `Process`, killed when the test ends."""
    processes = []

    def run(function, *arguments, **settings):
        folder = tmp_path_factory.mktemp("process")
        processes.append(Process(folder, function, *map(str, arguments), **settings))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()


@pytest.fixture
def tool(start):
    """Returns tool(name, *arguments): a command line that has run, as a user's does, with its output."""

    def run(name, *arguments):
        process = start(run_tool, name, *arguments)
        process.wait(300)
        return process

    return run


@pytest.fixture(autouse=True, scope="module")
def released():
    """Lets go of a module's networks and graphs, many of which hold themselves, before the next one's."""
    yield
    # TensorFlow keeps each custom gradient, and with it the graph that it was traced in, by name for ever.
    gradients = ops.gradient_registry._registry
    for name in [name for name in gradients if name.startswith("CustomGradient-")]:
        del gradients[name]
    keras.utils.clear_session()  # and a collection of garbage


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="Run the slow tests, too.")
    parser.addoption("--update-golden", action="store_true", help="Rewrite the recorded values in tests/golden.")


def pytest_unconfigure(config):
    stop_the_server()


def pytest_sessionstart(session):
    gc.freeze()  # of what is imported nothing goes, and to look through it takes seconds each time


def pytest_collection_modifyitems(config, items):
    if config.getoption("--all") or config.getoption("markexpr") or any("::" in argument for argument in config.args):
        return  # what was asked for runs
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]


def pytest_configure(config):
    hypothesis.settings.register_profile("agkd_tf", max_examples=12 if config.getoption("--all") else 4)
    hypothesis.settings.load_profile("agkd_tf")
    if config.getoption("--update-golden") and config.getoption("numprocesses", None):
        raise pytest.UsageError("--update-golden writes files that tests share: add -n 0")
