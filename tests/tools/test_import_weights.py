"""From a downloaded file to a network that every tool takes."""

import warnings

import numpy as np
import pytest

import agkd_tf
from agkd_tf.data import load_dataset
from agkd_tf.errors import Note
from agkd_tf.models.storage import load_classifier, read_class_names
from tests.checkpoints.published import FACTS, IMAGES, state_dict
from tests.mocked import prepare_mocked

NAME = "wrn-10-1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a checkpoint of ten classes, the data that it is for, and the file imported from it."""
    folder = tmp_path_factory.mktemp("imported")
    weights = state_dict(NAME) | {
        "fc.weight": np.random.default_rng(0).normal(size=(10, 64)).astype(np.float32),
        "fc.bias": np.zeros(10, np.float32),
    }
    np.savez(folder / "of_ten.npz", **weights)
    np.savez(folder / "of_seven.npz", **state_dict(NAME))
    prepare_mocked("cifar10", folder / "data", sizes=(64, 20))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)
        agkd_tf.import_weights(folder / "of_ten.npz").save(folder / "of_ten.keras")
    return folder


def test_it_says_what_it_understood_and_writes_the_network(tool, folder, tmp_path):
    output = tmp_path / "small.keras"
    done = tool("import_weights", f"--checkpoint={folder / 'of_seven.npz'}", f"--output={output}")
    assert done.returncode == 0, done.stderr
    assert "wrn-10-1, relu, 7 classes, 77,655 parameters" in done.stdout
    assert "pixels: (images - 0) / 1, as most networks" in done.stdout
    assert "left out: 7 num_batches_tracked" in done.stdout
    assert "note: the file does not say which pixels" in done.stderr
    assert "--pixel_mean=0.5 --pixel_std=0.5 is for images scaled to [-1, 1]" in done.stderr
    np.testing.assert_allclose(load_classifier("model", output)(IMAGES), FACTS[NAME]["logits"], atol=1e-4)


def test_with_a_data_set_it_checks_pixels_and_names_the_classes(tool, folder, tmp_path):
    output = tmp_path / "small.keras"
    data = ("--dataset=cifar10", f"--data_dir={folder / 'data'}")
    done = tool("import_weights", f"--checkpoint={folder / 'of_ten.npz'}", f"--output={output}", *data)
    assert done.returncode == 0, done.stderr
    assert "accuracy on 20 test images: " in done.stdout
    assert "  with images scaled to [-1, 1]: " in done.stdout
    assert read_class_names("model", output) == load_dataset("cifar10", data_dir=folder / "data").class_names


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "checkpoint and output are needed"),
        (["--checkpoint={of_seven}", "--output=a.h5"], "must be a .keras file"),
        (["--checkpoint={of_seven}", "--output=a.keras", "--pixel_mean=a", "--pixel_std=1"], "must be numbers"),
        (
            ["--checkpoint={of_seven}", "--output=a.keras", "--dataset=cifar10", "--data_dir={data}"],
            "7 classes, cifar10 10",
        ),
        (["--checkpoint={nothing}", "--output=a.keras"], "must be an existing file"),
    ],
)
def test_a_mistake_is_one_line(tool, folder, arguments, reason):
    places = {"of_seven": folder / "of_seven.npz", "data": folder / "data", "nothing": folder / "nothing.npz"}
    done = tool("import_weights", *(each.format(**places) for each in arguments))
    assert done.returncode == 2
    assert reason in done.stderr.replace("`", "")
    assert done.stderr.count("error: ") == 1


def test_the_network_is_evaluated_attacked_exported_taught_from_and_started_from(tool, folder, tmp_path):
    network, data = folder / "of_ten.keras", ("--dataset=cifar10", f"--data_dir={folder / 'data'}", "--nodownload")
    record = (f"--model_file={network}", "--eps=8/255", f"--record={tmp_path / 'evaluation.json'}", *data)
    attacks = f"clean,pgd-2,apgd-ce,transfer:{network}"

    def run(name, *arguments):
        done = tool(name, *arguments)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    evaluated = run("evaluate", *record, f"--attacks={attacks}", "--num_examples=4", "--batch_size=4")
    assert all(attack in evaluated for attack in ("clean", "pgd-2", "apgd-ce", "transfer:"))
    run("export", f"--model_file={network}", f"--output={tmp_path / 'saved'}")
    told = run("export", f"--model_file={network}", "--format=torch", f"--output={tmp_path / 'back.safetensors'}")
    assert "state dict of a wrn-10-1, relu, 39 tensors" in told
    small = ("--train_examples=58", "--validation_examples=4", "--batch_size=29", "--epochs=1", "--decay_epochs=")
    small += ("--attack_steps=1", "--panel_every=0", *data)
    taught = ("--defense=agkd_bml", "--nomart", f"--teacher={network}", f"--model={network}")
    run("train", *taught, *small, f"--workdir={tmp_path / 'taught'}")
    started = ("--defense=at", f"--init_from={network}", "--model=wrn-10-1")
    run("train", *started, *small, "--input_mean=0", "--input_std=1", f"--workdir={tmp_path / 'started'}")
    assert (tmp_path / "taught" / "student.keras").is_file()
    assert (tmp_path / "started" / "student.keras").is_file()
