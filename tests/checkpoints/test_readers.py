"""Files of every format, wrapped, damaged and hostile."""

import collections
import importlib.util
import os
import pathlib
import pickle
import warnings
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import save_file

from agkd_tf.checkpoints.readers import read_checkpoint
from agkd_tf.checkpoints.state_dict import WRAPPERS, find_state_dict
from agkd_tf.errors import InputError, Note

STATE = {
    "conv1.weight": np.arange(12, dtype=np.float32).reshape(2, 6),
    "bn1.weight": np.ones(3, np.float32),
    "bn1.num_batches_tracked": np.array(5),
}
WEIGHTS = {"conv1.weight", "bn1.weight"}


def object_array(*parts):
    array = np.empty(len(parts), object)
    array[:] = parts
    return array


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, tf.bfloat16.as_numpy_dtype])
def test_floats_of_all_sizes_become_float32(tmp_path, dtype):
    save_file({"a.weight": np.array([[0.5, -2.0]], dtype)}, tmp_path / "a.safetensors")
    tree = read_checkpoint(tmp_path / "a.safetensors").tree
    assert tree["a.weight"].dtype == np.float32
    np.testing.assert_array_equal(tree["a.weight"], [[0.5, -2.0]])


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("prefix", ["", "module.", "module.0.", "module.basic_net.", "model.", "_orig_mod.module."])
def test_wrappers_and_prefixes_are_seen_through(wrapper, prefix):
    tree = {"epoch": np.array(3), wrapper: {f"{prefix}{name}": array for name, array in STATE.items()}}
    found = find_state_dict(tree)
    assert set(found.weights) == WEIGHTS
    assert ".".join([*found.prefixes, ""]) == (prefix or ".")[0 if prefix else 1 :]
    assert found.dropped == ("1 num_batches_tracked, which inference does not use",)


def test_wrappers_in_wrappers_are_seen_through():
    assert set(find_state_dict({"net": {"state_dict": STATE}}).weights) == WEIGHTS


def test_averaged_weights_are_preferred_and_the_choice_is_said():
    other = {name: array + 1 for name, array in STATE.items()}
    tree = {"unaveraged_model_state_dict": STATE, "model_state_dict": other}
    with pytest.warns(Note, match=r"'model_state_dict' is taken, not 'unaveraged_model_state_dict'; `weights=NAME`"):
        found = find_state_dict(tree)
    np.testing.assert_array_equal(found.weights["bn1.weight"], 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chosen = find_state_dict(tree, weights="unaveraged_model_state_dict")
    np.testing.assert_array_equal(chosen.weights["bn1.weight"], 1)


def test_a_file_without_a_state_dict_says_what_it_has():
    with pytest.raises(InputError, match=r"holds no state dict, .* It has: a0, a1, a2, a3, a4 and 15 more"):
        find_state_dict({f"a{number}": np.zeros(1) for number in range(20)})


class Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ((os.system, "touch ran"), r"it would run posix\.system"),
        ((eval, "open('ran', 'w')"), r"it would run builtins\.eval"),
        ((np.ndarray, (10**12,)), "cannot be read"),
        ((np.dtype, "V99999999"), "arrays of type 'V99999999'"),
        ((np.load, "ran"), "it would run numpy"),
        ((pathlib.Path.touch, pathlib.Path("ran")), "it would run"),
    ],
)
def test_a_pickle_that_calls_something_is_refused_and_nothing_is_called(tmp_path, monkeypatch, call, reason):
    monkeypatch.chdir(tmp_path)
    np.save("bad.npy", object_array({"a": Runs(*call)}, {}), allow_pickle=True)
    with pytest.raises(InputError, match=reason):
        read_checkpoint("bad.npy")
    assert not pathlib.Path("ran").exists()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_every_protocol_are_read(tmp_path, protocol):
    content = ({"a/b": collections.OrderedDict(w=np.float32([[1, 2]]))}, {"c": {"average": np.ones(2, np.float16)}})
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (2,)})
        pickle.dump(object_array(*content), file, protocol)
    tree = read_checkpoint(tmp_path / "a.npy").tree
    np.testing.assert_array_equal(tree["params"]["a/b"]["w"], [[1, 2]])
    assert tree["state"]["c"]["average"].dtype == np.float32


def test_haikus_own_mappings_are_read(tmp_path):
    data = pickle.dumps(object_array(collections.OrderedDict(a=np.zeros(1)), {}), 2)
    data = data.replace(b"ccollections\nOrderedDict\n", b"chaiku._src.data_structures\nFlatMapping\n")
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (2,)})
        file.write(data)
    assert set(read_checkpoint(tmp_path / "a.npy").tree["params"]) == {"a"}


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "noise", "empty"])
def test_a_damaged_file_is_one_line(tmp_path, name, damage):
    path = tmp_path / name
    if name == "a.npz":
        np.savez(path, **STATE)
    elif name == "a.npy":
        np.save(path, object_array({"a": {"w": STATE["conv1.weight"]}}, {}), allow_pickle=True)
    else:
        save_file(STATE, path)
    content = path.read_bytes()
    noise = np.random.default_rng(0).bytes(len(content))
    path.write_bytes({"cut": content[: len(content) // 2], "noise": noise, "empty": b""}[damage])
    with pytest.raises(InputError, match=r"`checkpoint`: .* cannot be read: ") as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)


def test_pickled_arrays_in_an_npz_file_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", a=object_array({}, {}))
    with pytest.raises(InputError, match=r"cannot be read: .*allow_pickle=False"):
        read_checkpoint(tmp_path / "a.npz")


def test_an_archive_that_would_fill_the_memory_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("agkd_tf.checkpoints.readers.LARGEST", 10_000)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(1_000_000))
    with pytest.raises(InputError, match=r"holds more than"):
        read_checkpoint(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("weights.h5", r"must be a file of one of \.pt, \.pth, \.ckpt, \.t7, \.safetensors, \.npz, \.npy"),
        ("nowhere.npz", "must be an existing file"),
    ],
)
def test_no_checkpoint_is_refused(tmp_path, name, reason):
    with pytest.raises(InputError, match=reason):
        read_checkpoint(tmp_path / name)


def test_one_array_is_no_checkpoint(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"holds one array"):
        read_checkpoint(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", object_array({}, {}, {}), allow_pickle=True)
    with pytest.raises(InputError, match=r"must hold two dicts"):
        read_checkpoint(tmp_path / "a.npy")


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="PyTorch is installed")
def test_without_pytorch_its_files_say_what_to_install(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"anything")
    with pytest.raises(InputError, match=r"PyTorch is needed: pip install torch. Or save the state dict"):
        read_checkpoint(tmp_path / "a.pt")
