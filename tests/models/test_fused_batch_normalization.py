import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from agkd_tf.models import build_model
from agkd_tf.models.graph import Graph

SLOW = pytest.mark.slow


def one_pass(model, images, *, training):
    """Returns the output of a model whose BN is one operation each."""
    graph = Graph(model)
    return graph.run(graph.outputs, {graph.images: images}, training=training)[0]


def wrn():
    """A WRN-10-1 whose BN has seen something, and images."""
    model = build_model("wrn-10-1", image_shape=(16, 16, 3), num_classes=10)
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, layer.gamma.shape) for _ in range(4)])
    return model, tf.constant(random.random((8, 16, 16, 3), np.float32))


def after_a_pass(run, student, images):
    """Returns outputs, gradients of their sum of squares, and moved weights of one pass; puts the weights back."""
    before = student.get_weights()
    with tf.GradientTape() as tape:
        outputs = run(images)
        loss = tf.reduce_sum(tf.square(tf.cast(outputs, tf.float32)))
    gradients = tape.gradient(loss, student.trainable_variables, unconnected_gradients="zero")
    after = student.get_weights()
    student.set_weights(before)
    return [tf.cast(outputs, tf.float32), *gradients, *after], sum(
        np.any(old != new) for old, new in zip(before, after, strict=True)
    )


def relative(found, expected):
    return [
        np.linalg.norm(one - other) / (np.linalg.norm(other) + 1e-6) for one, other in zip(found, expected, strict=True)
    ]


@pytest.mark.parametrize(
    ("training", "jit_compile"), [(False, False), (True, False), pytest.param(False, True, marks=SLOW), (True, True)]
)
def test_a_pass_is_keras_own_with_all_gradients(training, jit_compile):
    student, images = wrn()
    run = tf.function(lambda images: one_pass(student, images, training=training), jit_compile=jit_compile)
    expected, _ = after_a_pass(lambda images: student(images, training=training), student, images)
    found, moved = after_a_pass(run, student, images)
    assert max(relative(found, expected)) < 2e-3
    assert moved == 2 * training * sum(isinstance(layer, layers.BatchNormalization) for layer in student.layers)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_other_layers_do_as_in_training_too(dtype):
    inputs = keras.Input((8, 8, 3))
    inner = keras.Sequential([layers.Conv2D(4, 3, dtype=dtype), layers.BatchNormalization(dtype=dtype)])
    x = layers.BatchNormalization(dtype=dtype)(inner(inputs))
    model = keras.Model(inputs, layers.Dropout(0.5, dtype=dtype)(x))
    images = tf.constant(np.random.default_rng(0).random((16, 8, 8, 3), np.float32))
    for training in (False, True):
        before = model.get_weights()
        outputs = one_pass(model, images, training=training)
        assert (float(tf.reduce_mean(tf.cast(outputs == 0, tf.float32))) > 0.3) == training
        moved = [np.any(old != new) for old, new in zip(before, model.get_weights(), strict=True)]
        assert sum(moved) == 4 * training


@pytest.mark.parametrize("training", [False, True])
def test_the_gradient_by_the_images_is_keras_own(training):
    student, images = wrn()
    gradients = []
    for run in (
        lambda images: one_pass(student, images, training=training),
        lambda images: student(images, training=training),
    ):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            loss = tf.reduce_sum(tf.square(run(images)))
        gradients.append(tape.gradient(loss, images))
    assert max(relative(gradients[:1], gradients[1:])) < 2e-3


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=SLOW)])
@pytest.mark.parametrize("training", [False, True])
def test_in_bfloat16_it_is_as_near_to_float32_as_keras_own(training, jit_compile):
    precise, images = wrn()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        student, _ = wrn()
    finally:
        keras.config.set_dtype_policy("float32")
    student.set_weights(precise.get_weights())
    expected, _ = after_a_pass(lambda images: precise(images, training=training), precise, images)
    errors = []
    for run in (
        lambda images: one_pass(student, images, training=training),
        lambda images: student(images, training=training),
    ):
        found, _ = after_a_pass(tf.function(run, jit_compile=jit_compile), student, images)
        errors.append(np.array(relative(found, expected)))
    ours, keras_own = errors
    assert np.max(ours - 1.5 * keras_own) < 0.01
    assert np.median(ours) < 0.2


@pytest.mark.parametrize("training", [False, True])
def test_one_operation_normalises(training):
    student, images = wrn()
    graph = tf.function(lambda images: one_pass(student, images, training=training)).get_concrete_function(images).graph
    fused = [operation for operation in graph.get_operations() if operation.type == "FusedBatchNormV3"]
    assert len(fused) == sum(isinstance(layer, layers.BatchNormalization) for layer in student.layers)


def test_the_moving_variance_is_the_biased_one_as_in_keras():
    model = keras.Sequential([keras.Input((2, 2, 1)), layers.BatchNormalization(momentum=0.0)])
    images = tf.constant(np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1))
    one_pass(keras.Model(model.inputs, model.outputs), images, training=True)
    assert float(model.layers[0].moving_variance[0]) == pytest.approx(1.25)


def test_frozen_layers_keep_their_statistics():
    student, images = wrn()
    before = student.get_weights()
    expected = student(images, training=False)
    student.trainable = False
    np.testing.assert_allclose(one_pass(student, images, training=True), expected, rtol=1e-3, atol=1e-4)
    for old, new in zip(before, student.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_other_bn_runs_as_keras_runs_it():
    inputs = keras.Input((4, 4, 3))
    x = layers.BatchNormalization(axis=1)(inputs)
    x = layers.BatchNormalization(scale=False)(x)
    x = layers.BatchNormalization()(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, x)
    images = tf.random.stateless_uniform((8, 4, 4, 3), (0, 0))
    expected, moved = after_a_pass(lambda images: model(images, training=True), model, images)
    found, found_moved = after_a_pass(lambda images: one_pass(model, images, training=True), model, images)
    for ours, keras_own in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, keras_own)
    assert moved == found_moved == 6


def test_layers_that_behave_otherwise_in_training_do_so():
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.Dropout(0.5, seed=0)(inputs))
    images = tf.ones((1, 8, 8, 3))
    assert set(np.unique(one_pass(model, images, training=True))) == {0.0, 2.0}
    assert set(np.unique(one_pass(model, images, training=False))) == {1.0}
