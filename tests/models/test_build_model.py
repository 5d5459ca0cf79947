import json
import math
import pathlib

import numpy as np
import pytest

from agkd_tf.errors import InputError
from agkd_tf.models import Classifier, build_model

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "networks.json"
NETWORKS = ["resnet-38", "preact-resnet-18", "vgg-11", "wrn-10-1"]


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
    "preact-resnet-18": (32, 10, 11_172_170, 4),
    "vgg-16": (32, 10, 14_728_266, 1),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_network_has_its_published_size(name):
    height, classes, parameters, map_height = PUBLISHED[name]
    model = build_model(name, image_shape=(height, height, 3), num_classes=classes)
    assert sum(math.prod(weight.shape) for weight in model.trainable_weights) == parameters
    assert model.get_layer("features").output.shape[1] == map_height


@pytest.mark.parametrize("name", NETWORKS)
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


@pytest.mark.parametrize("name", NETWORKS)
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


@pytest.mark.parametrize("name", ["resnet-18", "preact-resnet-50", "vgg-12"])
def test_a_depth_that_a_network_has_not_is_refused(name):
    with pytest.raises(InputError, match="`depth` must be one of"):
        build_model(name, image_shape=(64, 64, 3), num_classes=2)


def test_images_too_small_for_vgg_are_refused():
    with pytest.raises(InputError, match="32x32"):
        build_model("vgg-16", image_shape=(16, 16, 1), num_classes=2)
