import keras
import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.models import Classifier, build_model


def tiny(**settings):
    return build_model("wrn-10-1", **{"image_shape": (16, 16, 1), "num_classes": 10, **settings})


def convolutions(model, kernel, stride):
    kinds = (layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    return [layer for layer in kinds if (layer.kernel_size, layer.strides) == ((kernel,) * 2, (stride,) * 2)]


@pytest.mark.parametrize(("name", "parameters"), [("wrn-28-10", 36_479_194), ("wrn-34-10", 46_160_474)])
def test_the_published_networks_have_their_published_size(name, parameters):
    model = build_model(name, image_shape=(32, 32, 3), num_classes=10)
    assert sum(np.prod(weight.shape) for weight in model.trainable_variables) == parameters
    assert Classifier(model).map_shape == (8, 8)


def test_logits_are_float32_where_the_convolutions_are_bfloat16():
    model = tiny(dtype="mixed_bfloat16")
    assert model.get_layer("features").output.dtype == "bfloat16"
    assert model(tf.zeros([1, 16, 16, 1])).dtype == tf.float32
    assert {weight.dtype for weight in model.trainable_variables} == {"float32"}


def test_a_strided_convolution_pads_both_sides_alike(tiny_model, digits):
    strided = convolutions(tiny_model, 3, 2)[0]
    before = convolutions(tiny_model, 1, 2)[0].input  # the shortcut and the branch share their input
    x, result = keras.Model(tiny_model.input, [before, strided.output])(digits.test.images[:2] / 255)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    np.testing.assert_allclose(result, np.einsum("bhwcij,ijck->bhwk", windows, strided.kernel), atol=1e-5)


def test_the_seed_alone_fixes_the_initial_weights():
    first, again, other = (tiny(seed=seed) for seed in (3, 3, 4))
    for one, same, another in zip(first.weights, again.weights, other.weights, strict=True):
        np.testing.assert_array_equal(one, same)
        assert one.name != "kernel" or np.mean(np.isclose(one, another)) < 0.01


def test_no_two_layers_begin_with_the_same_numbers():
    found = convolutions(tiny(), 3, 1)
    beginnings = [layer.kernel.numpy().ravel()[:5] * np.sqrt(layer.filters) for layer in found]
    assert len({tuple(np.round(numbers, 4)) for numbers in beginnings}) == len(found)


def test_weights_begin_as_the_published_networks_do():
    model = build_model("wrn-10-4", image_shape=(8, 8, 3), num_classes=10)
    for layer in convolutions(model, 3, 2):  # as many again filters as channels
        kernel = layer.kernel.numpy()
        assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * layer.filters)), rel=0.01)  # He, fan-out
        assert np.abs(kernel).max() > 3 * kernel.std()  # not truncated
    dense = model.get_layer("logits")
    assert 0.95 / 16 < np.abs(dense.kernel).max() <= 1 / 16  # 1 / sqrt(256)
    assert not np.any(dense.bias)


def test_batch_normalization_is_that_of_the_published_networks(tiny_model):
    norms = [layer for layer in tiny_model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 7
    assert {(norm.momentum, norm.epsilon) for norm in norms} == {(0.9, 1e-5)}


def test_a_file_gives_the_same_network_back(tiny_model, digits, tmp_path):
    tiny_model.save(tmp_path / "tiny.keras")
    loaded = keras.saving.load_model(tmp_path / "tiny.keras")
    images = tf.constant(digits.test.images[:4] / 255, tf.float32)
    for expected, given in zip(Classifier(tiny_model)(images), Classifier(loaded)(images), strict=True):
        np.testing.assert_array_equal(given, expected)
