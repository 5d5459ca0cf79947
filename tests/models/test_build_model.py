import json
import math
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.attention import grad_cam
from agkd_tf.errors import InputError
from agkd_tf.export import export_saved_model
from agkd_tf.models import Classifier, build_model
from tests.matrices import fast_for

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "networks.json"
NETWORKS = ["resnet-18", "resnet-38", "preact-resnet-18", "vgg-11", "wrn-10-1", "mobilenet-v2"]


def test_the_name_sets_depth_width_and_sizes():
    model = build_model("wrn-16-2", image_shape=(12, 8, 3), num_classes=7)
    assert model.name == "wrn_16_2"
    assert model.input_shape == (None, 12, 8, 3)
    assert model.output_shape == (None, 7)
    assert model.get_layer("embedding").output.shape[-1] == 64 * 2


@pytest.mark.parametrize("name", ["", "densenet", "wrn-28", "wrn-28-10-x", "WRN-28-10", "wrn-1000-1", "wrn-10-1000"])
def test_an_unknown_name_is_refused_with_the_known_ones(name):
    with pytest.raises(InputError, match=r"`model` must be one of wrn-DEPTH-WIDTH \(for example wrn-28-10\)"):
        build_model(name, image_shape=(8, 8, 3), num_classes=2)


@pytest.mark.parametrize(
    ("name", "message"),
    [(name, "`depth` of a WRN must be 10, 16") for name in ("wrn-4-1", "wrn-12-1", "wrn-27-10")]
    + [("wrn-10-0", "`width` must be in")],
)
def test_a_size_that_no_wrn_has_is_refused(name, message):
    with pytest.raises(InputError, match=message):
        build_model(name, image_shape=(8, 8, 3), num_classes=2)


PUBLISHED = {
    # Name: (height, classes, trainable parameters, height of the feature map)
    "resnet-50": (64, 200, 23_910_280, 8),
    "resnet-38": (64, 200, 17_980_040, 8),
    "resnet-18": (32, 10, 11_173_962, 4),
    "preact-resnet-18": (32, 10, 11_172_170, 4),
    "vgg-16": (32, 10, 14_728_266, 1),
    "mobilenet-v2": (32, 10, 2_296_922, 4),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_network_has_its_published_size(name):
    height, classes, parameters, map_height = PUBLISHED[name]
    model = build_model(name, image_shape=(height, height, 3), num_classes=classes)
    assert sum(math.prod(weight.shape) for weight in model.trainable_weights) == parameters
    assert model.get_layer("features").output.shape[1] == map_height


@pytest.mark.parametrize("name", fast_for(NETWORKS, ["wrn-10-1", "preact-resnet-18"]))
def test_every_network_has_an_attention_map_and_starts_alike_from_one_seed(name):
    models = [build_model(name, image_shape=(32, 32, 3), num_classes=5, seed=seed) for seed in (3, 3, 4)]
    first, again, other = (model.get_weights() for model in models)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    classifier = Classifier(models[0])
    outputs = classifier(np.random.default_rng(0).uniform(size=(2, 32, 32, 3)).astype(np.float32))
    assert outputs.logits.shape == (2, 5)
    assert outputs.features.shape[1:3] == classifier.map_shape
    features = outputs.features.numpy()
    if name.startswith("vgg"):  # the map before the last pooling, which leaves one place of this image
        assert classifier.map_shape == (2, 2)
        features = features.max((1, 2), keepdims=True)
    else:
        classifier.check_pooled_dense()
    np.testing.assert_allclose(features.mean((1, 2)), outputs.embedding, rtol=1e-4, atol=1e-6)
    assert np.all(np.isfinite(outputs.logits))
    assert np.std(outputs.logits) > 0
    np.testing.assert_array_equal(models[0].get_layer("scaling")(np.array([[0.0, 0.5, 1.0]])), [[-1, 0, 1]])


@pytest.mark.parametrize("name", fast_for(NETWORKS, ["wrn-10-1", "preact-resnet-18"]))
def test_the_first_logits_are_the_recorded_ones(name, request):
    """How the layers are wired, which their sizes do not tell; in training mode, where normalization does something."""
    model = build_model(name, image_shape=(32, 32, 3), num_classes=5)
    images = np.random.default_rng(0).uniform(size=(4, 32, 32, 3)).astype(np.float32)
    logits = model(images, training=True).numpy()
    recorded = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
    if request.config.getoption("--update-golden"):
        recorded[name] = [[round(float(value), 6) for value in row] for row in logits]
        GOLDEN.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    np.testing.assert_allclose(logits, recorded[name], rtol=1e-3, atol=1e-3 * np.std(logits))


@pytest.mark.parametrize("name", ["resnet-20", "preact-resnet-50", "vgg-12"])
def test_a_depth_that_a_network_has_not_is_refused(name):
    with pytest.raises(InputError, match="`depth` must be one of"):
        build_model(name, image_shape=(64, 64, 3), num_classes=2)


def test_images_too_small_for_vgg_are_refused():
    with pytest.raises(InputError, match="32x32"):
        build_model("vgg-16", image_shape=(16, 16, 1), num_classes=2)


MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)
IMAGES = np.random.default_rng(1).uniform(size=(2, 32, 32, 3)).astype(np.float32)


def kinds(model):
    """How many layers of each kind a network has; activations by their function."""
    names = [
        layer.activation.__name__ if isinstance(layer, keras.layers.Activation) else type(layer).__name__.lower()
        for layer in model.layers
    ]
    return {name: names.count(name) for name in names}


@pytest.mark.parametrize(
    "name",
    ["resnet-18", "wrn-10-1", *(pytest.param(name, marks=pytest.mark.slow) for name in ("vgg-11", "mobilenet-v2"))],
)
def test_silu_takes_the_place_of_every_relu_and_of_nothing_else(name):
    networks = {
        activation: build_model(name, image_shape=(32, 32, 3), num_classes=5, seed=3, activation=activation)
        for activation in ("relu", "silu")
    }
    relu, silu = map(kinds, networks.values())
    assert silu.pop("silu") == relu.pop("relu") > 0
    assert silu == relu
    for one, other in zip(*(model.get_weights() for model in networks.values()), strict=True):
        np.testing.assert_array_equal(one, other)
    shapes = {Classifier(model).map_shape for model in networks.values()}
    assert len(shapes) == 1
    outputs = Classifier(networks["silu"])(IMAGES)
    assert outputs.features.shape[1:3] == shapes.pop()
    assert -0.2785 < np.min(outputs.features) < 0  # the least value of x * sigmoid(x)


def test_without_an_activation_the_network_is_the_one_with_relu():
    given, plain = (
        build_model("wrn-10-1", image_shape=(8, 8, 3), num_classes=5, **body) for body in ({"activation": "relu"}, {})
    )
    assert [layer.get_config()["name"] for layer in plain.layers if isinstance(layer, keras.layers.ReLU)]
    assert [type(layer) for layer in plain.layers] == [type(layer) for layer in given.layers]
    np.testing.assert_array_equal(plain(IMAGES[:, :8, :8]), given(IMAGES[:, :8, :8]))


@pytest.mark.parametrize("dtype", [None, "mixed_bfloat16"])
@pytest.mark.parametrize(("mean", "std"), [(MEAN, STD), ((0.5,), (0.25,)), (0.5, 0.25), (MEAN, 0.25)])
def test_a_network_normalises_its_images_if_asked(mean, std, dtype, tmp_path):
    settings = {"image_shape": (8, 8, 3), "num_classes": 5, "dtype": dtype}
    model = build_model("tiny", **settings, input_mean=mean, input_std=std)
    images = IMAGES[:, :8, :8]
    normalised = (images - np.float32(mean)) / np.float32(std)
    tolerance = 1e-5 if dtype is None else 0.03
    np.testing.assert_allclose(
        np.float32(model.get_layer("scaling")(images)), normalised, rtol=tolerance, atol=tolerance
    )
    if dtype is None:
        plain = build_model("tiny", **settings)  # it maps images to 2 * images - 1
        np.testing.assert_allclose(model(images), plain((normalised + 1) / 2), rtol=1e-4, atol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    classifiers = [Classifier(each) for each in (model, loaded)]  # which refuses networks for other pixels
    for expected, given in zip(*(classifier(images) for classifier in classifiers), strict=True):
        np.testing.assert_array_equal(given, expected)


@pytest.mark.slow
def test_a_normalised_network_with_silu_is_attended_compiled_and_exported(tmp_path):
    model = build_model("tiny", image_shape=(8, 8, 3), num_classes=5, activation="silu", input_mean=MEAN, input_std=STD)
    classifier, images = Classifier(model), tf.constant(IMAGES[:, :8, :8])
    compiled = tf.function(classifier.logits, jit_compile=True)
    np.testing.assert_allclose(compiled(images), model(images), rtol=1e-4, atol=1e-5)
    features, labels = classifier(images).features, tf.constant([2, 4])
    kernel = model.get_layer("logits").kernel.numpy().T[labels]
    expected = np.maximum(np.einsum("bhwk,bk->bhw", features, kernel / 4), 0)  # of 2x2 places
    assert expected.max() > 1e-3
    np.testing.assert_allclose(grad_cam(features, classifier.head, labels), expected, atol=1e-6)
    export_saved_model(model, tmp_path / "saved")
    served = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"](images=images)
    np.testing.assert_allclose(served["logits"], model(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"activation": "gelu"}, "`activation` must be one of relu, silu"),
        ({"input_mean": 0.5}, "`input_mean` needs `input_std`: give both"),
        ({"input_std": 0.5}, "`input_std` needs `input_mean`: give both"),
        ({"input_mean": (0.5, 0.5), "input_std": 0.25}, "`input_mean` must be one number, or one for each of the 3"),
        ({"input_mean": 0.5, "input_std": 0.0}, "`input_std` must be one number.*above 0"),
        (
            {"input_mean": (125.3, 123.0, 113.9), "input_std": 0.25},
            r"`input_mean` must lie in the images' range \(0 to",
        ),
    ],
)
def test_a_normalisation_that_fits_no_image_is_refused(body, message):
    with pytest.raises(InputError, match=message):
        build_model("tiny", image_shape=(8, 8, 3), num_classes=5, **body)


def test_a_standard_deviation_of_bytes_is_seen_as_one():
    model = build_model("tiny", image_shape=(8, 8, 3), num_classes=5, input_mean=0.5, input_std=63.0)
    with pytest.raises(InputError, match=r"takes pixels in 0\.\.255"):
        Classifier(model)
