"""PyTorch's own files, read by PyTorch, in an environment that these tests make: its networks, and a published one."""

import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest

from agkd_tf.attacks import PGD
from agkd_tf.checkpoints import import_network, read_checkpoint
from agkd_tf.data import load_dataset
from agkd_tf.errors import InputError, Note
from agkd_tf.evaluation import evaluate
from agkd_tf.models import Classifier
from tests.checkpoints.published import FACTS, IMAGES, PIXELS
from tests.documentation import ROOT

pytestmark = pytest.mark.slow

# PyTorch's build for CPUs, without the libraries for GPUs that its own requirements would bring.
PYTORCH = ("torch==2.13.0+cpu", "typing-extensions", "filelock", "sympy", "mpmath", "networkx", "jinja2", "markupsafe")
PYTORCH += ("fsspec", "numpy", "setuptools")
PUBLISHED = "pyautoattack==0.2.0"  # with a clean ResNet-18 for CIFAR-10, examples/model_test.pt
SECONDS = 180

QUANTIZED = """
import sys, torch
weights = torch.quantize_per_tensor(torch.rand(4, 3), 0.1, 0, torch.qint8)
torch.save({"conv1.weight": weights}, sys.argv[1])
"""
HOSTILE = """
import os, sys, torch
class Runs:
    def __reduce__(self):
        return os.system, ("touch ran",)
torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}, "args": Runs()}, sys.argv[1])
"""


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip(f"pip took more than {SECONDS} s: {' '.join(arguments)}")
    if done.returncode:
        pytest.skip(f"no package index with {arguments[-1]} is at hand: {done.stderr.strip().splitlines()[-1]}")


@pytest.fixture(scope="module")
def torch_python(tmp_path_factory):
    """Runs a script in an environment with PyTorch, which these tests can import as well while they run."""
    folder = tmp_path_factory.mktemp("torch")
    pip("install", "-qq", "--no-compile", "--no-deps", f"--target={folder}", *PYTORCH)
    sys.path.append(str(folder))

    def run(*arguments):
        environment = {"PYTHONPATH": str(folder)}
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr[-2000:]

    yield run
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def networks(torch_python, tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    torch_python(ROOT / "tests" / "checkpoints" / "torch_networks.py", folder)
    return folder


@pytest.fixture(scope="module")
def published(torch_python, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    pip("download", "-qq", "--no-deps", f"--dest={folder}", PUBLISHED)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.extract("pyautoattack/examples/model_test.pt", folder)


def quietly(path, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)
        return import_network(path, **settings)


@pytest.mark.parametrize("name", FACTS)
def test_features_embedding_and_logits_are_those_of_pytorch(networks, name):
    network = quietly(networks / f"{name}.pt", architecture=name, **PIXELS.get(name, {}))
    outputs, expected = Classifier(network.model)(IMAGES), np.load(networks / f"{name}.npz", allow_pickle=False)
    np.testing.assert_allclose(outputs.logits, expected["logits"], atol=1e-4, rtol=1e-5)
    np.testing.assert_allclose(outputs.embedding, expected["embedding"], atol=2e-4, rtol=1e-5)
    features = np.transpose(outputs.features, (0, 3, 1, 2))
    np.testing.assert_allclose(features, expected["features"], atol=2e-3, rtol=1e-4)


def test_the_committed_facts_are_those_of_this_pytorch(networks):
    for name, facts in FACTS.items():
        expected = np.load(networks / f"{name}.npz", allow_pickle=False)["logits"]
        np.testing.assert_allclose(facts["logits"], expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (QUANTIZED, r"holds quantized weights \(conv1\.weight\): give a file with dense weights"),
        (HOSTILE, r"would run code \((posix|os)\.system\)"),
    ],
)
def test_a_hostile_or_quantized_file_is_one_line(torch_python, tmp_path, monkeypatch, script, reason):
    monkeypatch.chdir(tmp_path)
    torch_python("-c", script, "bad.pt")
    with pytest.raises(InputError, match=reason) as error:
        read_checkpoint("bad.pt")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_a_damaged_file_is_one_line(networks, tmp_path):
    content = (networks / "wrn-10-1.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="cannot be read") as error:
        read_checkpoint(tmp_path / "cut.pt")
    assert "\n" not in str(error.value)


def test_a_published_network_has_its_accuracy_and_no_robustness(published, cifar10_dir):
    network = quietly(published)
    assert (network.architecture, network.num_classes, network.parameters) == ("resnet-18", 10, 11_173_962)
    test = load_dataset("cifar10", data_dir=cifar10_dir).test
    images, labels = test.images[:1000], test.labels[:1000]
    result = evaluate(network.model, images, labels, attacks=["clean"], eps=8 / 255)
    assert abs(result["clean"].accuracy - 0.864) < 0.002
    attacked = evaluate(network.model, images[:16], labels[:16], attacks=[PGD(steps=20)], eps=8 / 255)
    assert attacked["pgd-20"].accuracy == 0
