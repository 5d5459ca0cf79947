"""A state dict has the names of public PyTorch code, and comes back to the same bits."""

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

from agkd_tf.checkpoints import import_network
from agkd_tf.errors import InputError
from agkd_tf.export import export_state_dict
from agkd_tf.models import build_model
from agkd_tf.models.storage import load_classifier, save_classifier
from agkd_tf.models.wide_resnet import wide_resnet
from tests.checkpoints.published import FACTS, state_dict

SHAPE = {"image_shape": (32, 32, 3), "num_classes": 7}


def randomized(model):
    generator = np.random.default_rng(0)
    model.set_weights([generator.uniform(0.1, 1, weights.shape) for weights in model.get_weights()])
    return model


@pytest.mark.parametrize(
    ("name", "settings", "pixels"),
    [
        ("wrn-10-1", {}, ([0.5], [0.5])),
        (
            "wrn-16-2",
            {"activation": "silu", "input_mean": (0.4, 0.5, 0.6), "input_std": 0.2},
            ([0.4, 0.5, 0.6], [0.2] * 3),
        ),
        pytest.param("preact-resnet-18", {"input_mean": 0, "input_std": 1}, ([0], [1]), marks=pytest.mark.slow),
        pytest.param("resnet-18", {}, ([0.5], [0.5]), marks=pytest.mark.slow),
    ],
)
def test_it_comes_back_to_the_same_bits(tmp_path, name, settings, pixels):
    model = randomized(build_model(name, **SHAPE, **settings))
    save_classifier(model, tmp_path / "student.keras")
    model = load_classifier("model", tmp_path / "student.keras")  # its layers in the order of the file
    written = export_state_dict(model, tmp_path / "student.safetensors")
    assert (written.architecture, written.activation) == (name, settings.get("activation", "relu"))
    np.testing.assert_allclose(written.mean, pixels[0], atol=1e-7)
    np.testing.assert_allclose(written.std, pixels[1], atol=1e-7)
    network = import_network(tmp_path / "student.safetensors")
    assert network.architecture == name
    for old, new in zip(model.get_weights(), network.model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    images = np.random.default_rng(0).random((2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(network.model(images), model(images), rtol=1e-5)


def test_images_of_another_size_come_back(tmp_path):
    model = build_model("wrn-10-1", image_shape=(16, 16, 1), num_classes=10)
    export_state_dict(model, tmp_path / "a.safetensors")
    assert import_network(tmp_path / "a.safetensors").model.input_shape == (None, 16, 16, 1)


def test_a_published_network_comes_back_as_it_was(tmp_path):
    name = "wrn-deepmind-10-2"
    np.savez(tmp_path / "weights.npz", **state_dict(name))
    export_state_dict(import_network(tmp_path / "weights.npz").model, tmp_path / "back.safetensors")
    back = load_file(tmp_path / "back.safetensors")
    expected = {key: array for key, array in state_dict(name).items() if "tracked" not in key}
    assert set(back) == set(expected)
    for key, array in expected.items():
        np.testing.assert_array_equal(back[key], array)


def test_the_names_and_shapes_are_those_of_public_code(tmp_path):
    export_state_dict(build_model("wrn-16-2", image_shape=(32, 32, 3), num_classes=10), tmp_path / "a.safetensors")
    shapes = {key: list(array.shape) for key, array in load_file(tmp_path / "a.safetensors").items()}
    assert shapes == {key: shape for key, shape in FACTS["wrn-16-2"]["shapes"].items() if "tracked" not in key}


def other_padding():
    model = wide_resnet(depth=10, width=1, strided_padding="end", **SHAPE)
    return keras.Model(model.inputs, keras.ops.relu(model.outputs[0]))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: build_model("tiny", **SHAPE), "'tiny' is none of them: export it as a SavedModel"),
        (lambda: build_model("mobilenet-v2", **SHAPE), "is of no network from agkd_tf.models"),
        (other_padding, "is none of them"),
    ],
)
def test_other_networks_are_refused(tmp_path, model, reason):
    with pytest.raises(InputError, match=reason):
        export_state_dict(model(), tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def test_another_suffix_is_refused(tmp_path, tiny_model):
    with pytest.raises(InputError, match=r"`output` must be a \.safetensors file"):
        export_state_dict(tiny_model, tmp_path / "a.pt")
