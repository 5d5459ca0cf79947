"""Imported networks compute what PyTorch computed; what is guessed is said, and what does not fit is listed."""

import functools
import warnings

import keras
import numpy as np
import pytest

import agkd_tf
from agkd_tf.checkpoints import check_pixels, import_network
from agkd_tf.errors import InputError, Note
from agkd_tf.models import Classifier
from tests.checkpoints.published import FACTS, IMAGES, PIXELS, haiku_parameters, state_dict

SMALL = "wrn-10-1"
SLOW = {"preact-resnet-18", "preact-resnet-raw-18", "preact-resnet-nobn-18"}  # forms that others have parts of
PARAMETERS = {
    "wrn-10-1": 77_655,
    "wrn-deepmind-10-2": 303_706,
    "preact-resnet-18": 11_172_170,
    "preact-resnet-raw-nobn-18": 11_171_146,
    "preact-resnet-deepmind-18": 12_548_426,
    "resnet-18": 11_173_962,
}


@pytest.fixture
def saved(tmp_path):
    def save(weights, name="weights.npz"):
        np.savez(tmp_path / name, **weights)
        return tmp_path / name

    return save


def quietly(path, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)
        return import_network(path, **settings)


@functools.cache
def small():
    return state_dict(SMALL)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in FACTS])
def test_its_logits_and_embedding_are_those_of_pytorch(saved, name):
    network = quietly(saved(state_dict(name)), architecture=name, **PIXELS.get(name, {}))
    assert network.architecture == name
    assert network.parameters == PARAMETERS.get(name, network.parameters)
    outputs = Classifier(network.model)(IMAGES)
    np.testing.assert_allclose(outputs.logits, FACTS[name]["logits"], atol=2e-4, rtol=1e-5)
    np.testing.assert_allclose(outputs.embedding[:, :8], FACTS[name]["embedding"], atol=2e-4, rtol=1e-5)
    assert outputs.features.shape[1:3] == ((8, 8) if "wrn" in name else (4, 4))


def test_haikus_parameters_are_the_same_network(tmp_path):
    name = "wrn-deepmind-10-2"
    parts = np.empty(2, object)
    parts[:] = haiku_parameters(state_dict(name))
    np.save(tmp_path / "haiku.npy", parts, allow_pickle=True)
    network = import_network(tmp_path / "haiku.npy")
    assert (network.architecture, network.activation) == (name, "silu")
    np.testing.assert_allclose(network.model(IMAGES), FACTS[name]["logits"], atol=2e-4, rtol=1e-5)


def test_what_the_library_returns_is_a_network_of_its_own_that_can_be_saved(saved, tmp_path):
    model = agkd_tf.import_weights(saved(small()), pixel_mean=0, pixel_std=1)
    model.save(tmp_path / "small.keras")
    loaded = keras.saving.load_model(tmp_path / "small.keras", compile=False)
    np.testing.assert_allclose(loaded(IMAGES), FACTS[SMALL]["logits"], atol=1e-4)


def test_a_guess_is_said(saved):
    with pytest.warns(Note, match=r"does not say which pixels .* \[0, 1\] as they are"):
        import_network(saved(small()))


@pytest.mark.parametrize("name", ["preact-resnet-raw-nobn-18", "preact-resnet-18"])
def test_twins_are_named_where_nothing_chooses(saved, name, monkeypatch):
    monkeypatch.setattr("agkd_tf.checkpoints.network.assign", lambda *_: None)  # the weights do not matter
    other = {"preact-resnet-18": "preact-resnet-raw", "preact-resnet-raw-nobn-18": "preact-resnet-nobn"}[name]
    with pytest.warns(Note) as notes:
        assert import_network(saved(state_dict(name))).architecture == name
    assert any(f"architecture='{other}'" in str(note.message) for note in notes)


@pytest.mark.parametrize(
    ("added", "mean", "reason"),
    [
        ({"mu": [0.4, 0.5, 0.6], "sigma": [0.2, 0.3, 0.2]}, (0.4, 0.5, 0.6), "stored in the file"),
        ({"0.mean": [0.4, 0.5, 0.6], "0.std": [0.2, 0.3, 0.2]}, (0.4, 0.5, 0.6), "stored in the file"),
        ({}, (0.0,), "as most networks"),
    ],
)
def test_pixels_in_the_file_are_used(saved, added, mean, reason):
    arrays = {name: np.float32(values).reshape(1, 3, 1, 1) for name, values in added.items()}
    network = quietly(saved(small() | arrays))
    assert network.pixels.mean == mean
    assert network.pixels.reason.startswith(reason)
    white = network.model.get_layer("scaling")(np.ones((1, 1, 1, 3), np.float32))
    expected = (1 - np.array(mean)) / np.array(network.pixels.std) * np.ones(3)
    np.testing.assert_allclose(np.ravel(white), expected, rtol=1e-5)


def test_checkpoints_of_agkd_bml_take_scaled_pixels_and_those_of_trades_do_not(saved):
    wrapped = {f"module.basic_net.{name}": array for name, array in small().items()}
    assert quietly(saved(wrapped)).pixels.mean == (0.5,)
    unused = {f"sub_{name}": array for name, array in small().items() if name.startswith("block1.")}
    network = quietly(saved(small() | unused))
    assert network.pixels.mean == (0.0,)
    assert network.pixels.is_guess
    assert any("sub_block1" in text for text in network.dropped)


def test_deepminds_networks_take_the_mean_of_their_data(saved):
    weights = state_dict("wrn-deepmind-10-2")
    assert quietly(saved(weights)).pixels.mean == (0.4914, 0.4822, 0.4465)
    for classes, mean in ((100, (0.5071, 0.4865, 0.4409)), (43, None)):
        weights |= {"logits.weight": np.zeros((classes, 128), np.float32), "logits.bias": np.zeros(classes, np.float32)}
        if mean is None:
            with pytest.raises(InputError, match="43 classes and 3 channels are not known: give `pixel_mean"):
                import_network(saved(weights))
        else:
            assert quietly(saved(weights)).pixels.mean == mean


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: w.pop("bn1.running_var"), r"does not fit wrn-10-1: missing: bn1\.running_var$"),
        (lambda w: w.update(extra=np.zeros(3, np.float32)), "left over: extra$"),
        (lambda w: w.update({"fc.bias": np.zeros(9, np.float32)}), r"fc\.bias \(9,\) instead of \(7,\)"),
        (lambda w: w["bn1.weight"].fill(np.nan), r"NaN, infinite, or a negative variance: bn1\.weight"),
        (lambda w: w["bn1.running_var"].fill(-1), r"negative variance: bn1\.running_var"),
        (lambda w: w.update({"bn1.bias": np.zeros(64, np.int64)}), r"not floats: bn1\.bias"),
        (lambda w: w.update({"conv1.weight": np.zeros((16, 3, 3, 3), np.int8)}), r"quantized weights \(conv1\.weight"),
        (lambda w: w.update({"fc.weight": np.zeros(7, np.float32)}), r"fc\.weight \(7,\)"),
        (lambda w: w.pop("fc.weight"), "weights of no known network"),
        (lambda w: w.pop("block3.layer.0.conv2.weight"), r"block3\.layer\.0\.conv2\.weight is missing instead of"),
        (lambda w: w.update({"block1.layer.9.conv2.weight": w["conv1.weight"]}), r"stages of \(2, 1, 1\) blocks"),
        (
            lambda w: w.update({"block1.layer.0.conv2.weight": np.zeros((16 * 10**6, 0, 3, 3), np.float32)}),
            r"instead of \(16000000, 16000000, 3, 3\)",
        ),
        (lambda w: [w.pop(name) for name in list(w) if ".bn2." in name], r"missing: (\S+, ){3}\S+ and 8 more"),
    ],
)
def test_what_does_not_fit_is_listed_in_one_line(saved, change, reason):
    weights = {name: array.copy() for name, array in small().items()}
    change(weights)
    with pytest.raises(InputError, match=reason) as error:
        quietly(saved(weights))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"architecture": "resnet-18"}, "`architecture` must be, for the names in this checkpoint, wrn"),
        ({"architecture": "wrn-28-10"}, "`architecture` is wrn-28-10, but the checkpoint holds a wrn-10-1"),
        ({"activation": "gelu"}, "`activation` must be one of relu, silu"),
        ({"pixel_mean": 0.5}, "`pixel_mean` needs `pixel_std`"),
        ({"pixel_mean": 125, "pixel_std": 60}, "`pixel_mean` must lie in the images' range"),
        ({"pixel_mean": (0.5, 0.5), "pixel_std": 1}, "one for each of the 3 channels"),
        ({"weights": "ema"}, "`weights` must be one of the top. Received: 'ema'"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(saved, settings, reason):
    with pytest.raises(InputError, match=reason):
        quietly(saved(small()), **settings)


def test_another_activation_is_another_network(saved):
    logits = {
        each: np.asarray(quietly(saved(small()), activation=each).model(IMAGES)) for each in (None, "relu", "silu")
    }
    np.testing.assert_array_equal(logits[None], logits["relu"])
    assert np.abs(logits["silu"] - logits["relu"]).max() > 0.1


class TestPixelCheck:
    """The labels are a network's own answers, for which its own pixels are right."""

    def labelled(self, saved, mean, std):
        images = np.random.default_rng(1).random((120, 32, 32, 3)).astype(np.float32)
        images *= np.random.default_rng(2).random((120, 1, 1, 3)).astype(np.float32)
        model = quietly(saved(small()), pixel_mean=mean, pixel_std=std).model
        return images, np.asarray(model(images)).argmax(1)

    def test_right_pixels_pass(self, saved):
        images, labels = self.labelled(saved, 0, 1)
        check = check_pixels(quietly(saved(small())).model, images, labels)
        assert check.own == 1
        assert set(check.others) == {
            "images scaled to [-1, 1]",
            "CIFAR-10's mean and standard deviation",
            "CIFAR-100's mean and standard deviation",
        }
        assert max(check.others.values()) < 1

    def test_wrong_ones_are_told_with_what_to_type(self, saved):
        images, labels = self.labelled(saved, 0.5, 0.5)
        model = quietly(saved(small()), pixel_mean=0, pixel_std=1).model
        own = (np.asarray(model(images)).argmax(1) == labels).mean()
        said = r"its accuracy is .*, and 100\.0% with images scaled to \[-1, 1\]: `pixel_mean=0\.5, pixel_std=0\.5`"
        if own < 0.5:
            with pytest.raises(InputError, match=said):
                check_pixels(model, images, labels)
        else:
            with pytest.warns(Note, match=said):
                check_pixels(model, images, labels)

    def test_labels_of_more_classes_are_refused(self, saved):
        with pytest.raises(InputError, match="7 classes, but the images have labels up to 9"):
            check_pixels(quietly(saved(small())).model, IMAGES, np.array([0, 1, 9]))

    def test_a_network_from_elsewhere_is_refused(self, tiny_model):
        inputs = keras.Input((32, 32, 3))
        model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs)))
        with pytest.raises(InputError, match="was not made by `import_weights`"):
            check_pixels(model, IMAGES, np.array([0, 1, 2]))
