import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from agkd_tf.attention import grad_cam
from agkd_tf.models import Classifier

IMAGES = tf.constant(np.random.default_rng(0).uniform(size=(3, 6, 6, 2)), tf.float32)
CLASSES = tf.constant([2, 0, 3])


def class_activation_map(features, kernel, classes):
    """Grad-CAM of mean pooling and one dense layer, in NumPy: there a_k = W[k, class] / (h * w)."""
    weights = kernel.T[classes] / (features.shape[1] * features.shape[2])
    return np.maximum(np.einsum("bhwk,bk->bhw", features, weights), 0)


@pytest.fixture(scope="module")
def flat_head():
    """A network whose head is neither pooling nor linear."""
    normal = keras.initializers.RandomNormal(stddev=0.5, seed=3)
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(5, 3, kernel_initializer=normal),
            layers.Flatten(),
            layers.Dense(7, "tanh", kernel_initializer=normal),
            layers.Dense(4, kernel_initializer=normal),
        ]
    )


def test_it_equals_the_closed_form_on_a_pooling_and_dense_head(tiny_model, digits):
    images, labels = tf.constant(digits.test.images[:4] / 255, tf.float32), tf.constant(digits.test.labels[:4])
    classifier = Classifier(tiny_model)
    features, kernel = classifier(images).features.numpy(), tiny_model.get_layer("logits").kernel.numpy()
    expected = class_activation_map(features, kernel, labels.numpy())
    assert expected.max() > 1e-3
    np.testing.assert_allclose(grad_cam(features, classifier.head, labels), expected, atol=1e-5)


def test_the_closed_form_of_a_case_worked_out_by_hand():
    features = tf.constant([[[[4.0, 0.0], [0.0, 8.0]]]])  # 1 x 2 places, 2 channels
    kernel = tf.constant([[1.0, -1.0, 0.5], [2.0, 3.0, -0.25]])  # 3 classes

    def head(maps):
        return tf.reduce_mean(maps, axis=[1, 2]) @ kernel

    np.testing.assert_allclose(grad_cam(features, head, [0]), [[[2.0, 8.0]]])
    np.testing.assert_allclose(grad_cam(features, head, [1]), [[[0.0, 12.0]]])
    np.testing.assert_allclose(grad_cam(features, head, [2]), [[[1.0, 0.0]]])


def test_it_equals_its_numpy_transcription_on_another_head(flat_head):
    classifier = Classifier(flat_head)
    features, hidden, _ = (tensor.numpy() for tensor in classifier(IMAGES))
    inner, outer = (layer.kernel.numpy() for layer in flat_head.layers[-2:])
    slopes = (outer.T[CLASSES] * (1 - hidden**2)) @ inner.T  # dz_class / dF, flat
    weights = slopes.reshape(features.shape).mean(axis=(1, 2))
    expected = np.maximum(np.einsum("bhwk,bk->bhw", features, weights), 0)
    assert 0 < np.mean(expected > 0) < 1
    np.testing.assert_allclose(grad_cam(tf.constant(features), classifier.head, CLASSES), expected, atol=1e-5)


def test_the_weights_carry_no_gradient(flat_head):
    classifier = Classifier(flat_head)
    convolution, *_, outer = flat_head.layers
    with tf.GradientTape(persistent=True) as tape:
        features = classifier(IMAGES).features
        total = tf.reduce_sum(grad_cam(features, classifier.head, CLASSES))
    assert tape.gradient(total, outer.kernel) is None
    assert tape.gradient(total, convolution.kernel) is not None
    # Of a map that is positive throughout, the gradient by F_k at each place is a_k and nothing more.
    positive = tf.random.stateless_uniform([2, 4, 4, 5], (0, 0))
    with tf.GradientTape() as tape:
        tape.watch(positive)
        total = tf.reduce_sum(grad_cam(positive, lambda maps: tf.reduce_mean(maps**2, axis=[1, 2]), [0, 1]))
    slopes = np.mean(2 * positive.numpy() / 16, axis=(1, 2), keepdims=True) * np.eye(5)[:2, None, None]
    np.testing.assert_allclose(tape.gradient(total, positive), np.broadcast_to(slopes, (2, 4, 4, 5)), 1e-5)


def test_it_is_float32_on_a_mixed_precision_network():
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(5, 3, dtype="mixed_bfloat16"),
            layers.GlobalAveragePooling2D(dtype="float32"),
            layers.Dense(4, dtype="float32"),
        ]
    )
    classifier = Classifier(model)
    features = classifier(IMAGES).features
    maps = grad_cam(features, classifier.head, CLASSES)
    assert maps.dtype == tf.float32
    expected = class_activation_map(features.numpy(), model.layers[-1].kernel.numpy(), CLASSES.numpy())
    np.testing.assert_allclose(maps, expected, atol=2e-2 * np.max(expected))
