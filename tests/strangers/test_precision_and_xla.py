"""Students in half precision, and students that XLA cannot compile."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from agkd_tf import InputError, Undefended, compilation
from agkd_tf.compilation import XlaNote, resolve_jit_compile, uncompilable
from agkd_tf.defenses import AdversarialTraining
from tests.networks import tiny

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 1)).astype(np.uint8)
LABELS = np.arange(8) % 3


def network(*first, dtype=None):
    """A small classifier behind some layers, with the same weights each time."""
    keras.utils.set_random_seed(2)
    body = [
        layers.Conv2D(4, 3, dtype=dtype),
        layers.GlobalAveragePooling2D(dtype=dtype),
        layers.Dense(3, dtype="float32"),
    ]
    return keras.Sequential([keras.Input((16, 16, 1)), *first, *body])


@pytest.fixture
def policy():
    """Returns policy(name): sets the global dtype policy until the test ends."""
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


def scaled(optimizer):
    return keras.optimizers.LossScaleOptimizer(optimizer)


# name -> (global policy, the student's, what wraps the optimizer, settings of compile, whether loss is scaled then)
PRECISIONS = {
    "global, plain": ("mixed_float16", None, None, {}, True),
    "global, scaled": ("mixed_float16", None, scaled, {}, True),
    "global, by name": ("mixed_float16", None, lambda optimizer: "sgd", {}, True),
    "student's own, plain": ("float32", "mixed_float16", None, {}, True),
    "student's own, scaled": ("float32", "mixed_float16", scaled, {}, True),
    "pure float16": ("float32", "float16", None, {}, True),
    "not wanted": ("mixed_float16", None, None, {"auto_scale_loss": False}, False),
    "bfloat16": ("mixed_bfloat16", None, None, {}, False),
    "float32 student under float16": ("mixed_float16", "float32", None, {}, False),
    "float32": ("float32", None, None, {}, False),
}


@pytest.mark.parametrize("case", PRECISIONS)
def test_loss_is_scaled_for_a_student_in_float16_alone(policy, case):
    name, own, wrap, settings, expected = PRECISIONS[case]
    policy(name)
    defense = Undefended(network(dtype=own), validation_attack_steps=0)
    optimizer = keras.optimizers.SGD(0.1)
    defense.compile(wrap(optimizer) if wrap else optimizer, jit_compile=False, **settings)
    assert isinstance(defense.optimizer, keras.optimizers.LossScaleOptimizer) is expected
    if expected:
        assert not isinstance(defense.optimizer.inner_optimizer, keras.optimizers.LossScaleOptimizer)
    assert [name in defense.trackers for name in ("loss_scale", "gradient_norm")] == [expected, not expected]
    before = [weight.numpy() for weight in defense.student.trainable_variables]
    logs = defense.train_step((tf.constant(IMAGES), tf.constant(LABELS)))
    # What Keras' plain gradient of the same student in float32 does to it.
    plain = keras.models.clone_model(network(dtype="float32"))
    for weight, value in zip(plain.trainable_variables, before, strict=True):
        weight.assign(value)
    with tf.GradientTape() as tape:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(LABELS, plain(IMAGES / np.float32(255)))
    gradients = tape.gradient(loss, plain.trainable_variables)
    rate = 0.01 if case == "global, by name" else 0.1
    for weight, old, gradient in zip(defense.student.trainable_variables, before, gradients, strict=True):
        tolerance = {"bfloat16": 2e-2, "pure float16": 4e-3}.get(case, 4e-4)
        np.testing.assert_allclose(weight.numpy(), old - rate * gradient, atol=tolerance)
    if not expected:
        assert float(logs["gradient_norm"]) == pytest.approx(
            float(tf.linalg.global_norm(gradients)), rel=0.2 if case == "bfloat16" else 2e-2
        )


def test_an_overflow_leaves_its_step_out_and_halves_the_scale(policy):
    policy("mixed_float16")
    defense = Undefended(network(), validation_attack_steps=0)
    defense.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    defense.optimizer.dynamic_scale.assign(1e30)
    before = [weight.numpy() for weight in defense.student.trainable_variables]
    logs = defense.train_step((tf.constant(IMAGES), tf.constant(LABELS)))
    for weight, old in zip(defense.student.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)
    assert float(logs["loss_scale"]) == pytest.approx(5e29)


@pytest.mark.parametrize("later", ["mixed_float16", "float32"])
def test_a_file_restores_loss_scaling_whatever_the_policy_is_then(policy, tmp_path, later):
    policy("mixed_float16")
    defense = Undefended(network(), validation_attack_steps=0)
    defense.compile(keras.optimizers.SGD(0.1), jit_compile=True)
    defense.optimizer.dynamic_scale.assign(1024.0)
    defense.save(tmp_path / "defense.keras")
    policy(later)
    loaded = keras.saving.load_model(tmp_path / "defense.keras")
    assert isinstance(loaded.optimizer, keras.optimizers.LossScaleOptimizer)
    assert isinstance(loaded.optimizer.inner_optimizer, keras.optimizers.SGD)
    assert float(loaded.optimizer.dynamic_scale) == 1024.0
    assert "loss_scale" in loaded.trackers
    assert loaded.use_xla  # what was asked for is in the file, too


def by_python(images):
    return tf.ensure_shape(tf.numpy_function(lambda pixels: pixels, [images], images.dtype), images.shape)


def by_jpeg(images):
    return tf.map_fn(lambda image: tf.image.adjust_jpeg_quality(image, 50), images)


def named(layer):
    """The layer in a network within the network."""
    return keras.Sequential([layers.RandomFlip(), layer], name="augmentation")


UNIT = {"value_range": (0, 1)}
# name -> (a layer, what XLA cannot compile of it; None for all layers that it compiles)
LAYERS = {
    "RandomRotation": (lambda: layers.RandomRotation(0.1), "ImageProjectiveTransformV3"),
    "RandomZoom": (lambda: layers.RandomZoom(0.1), "ImageProjectiveTransformV3"),
    "RandomTranslation": (lambda: layers.RandomTranslation(0.1, 0.1), "ImageProjectiveTransformV3"),
    "RandomShear": (lambda: layers.RandomShear(0.1, 0.1), "ImageProjectiveTransformV3"),
    "RandomPerspective": (lambda: layers.RandomPerspective(0.5), "ImageProjectiveTransformV3"),
    "RandomElasticTransform": (lambda: layers.RandomElasticTransform(**UNIT), "RandomElasticTransform"),
    "Resizing, bicubic": (lambda: layers.Resizing(12, 12, interpolation="bicubic"), "ResizeBicubic"),
    "Resizing, nearest": (lambda: layers.Resizing(20, 20, interpolation="nearest"), "ResizeNearestNeighborGrad"),
    "a Python function": (lambda: layers.Lambda(by_python, name="mine"), "PyFunc"),
    "within a loop": (lambda: layers.Lambda(by_jpeg, name="jpeg"), "DecodeJpeg"),
    "within a network": (lambda: named(layers.RandomRotation(0.1, name="turned")), "ImageProjectiveTransformV3"),
    "RandomFlip": (lambda: layers.RandomFlip(), None),
    "RandomContrast": (lambda: layers.RandomContrast(0.1, **UNIT), None),
    "RandomBrightness": (lambda: layers.RandomBrightness(0.1, **UNIT), None),
    "GaussianNoise": (lambda: layers.GaussianNoise(0.1), None),
    "Dropout": (lambda: layers.Dropout(0.1), None),
    "Resizing": (lambda: layers.Resizing(12, 12), None),
    "BatchNormalization": (lambda: layers.BatchNormalization(), None),
    "LayerNormalization": (lambda: layers.LayerNormalization(), None),
}
# These are compiled to see that XLA says the same; the others are with --all.
COMPILED = {"RandomRotation", "RandomFlip"}


def innermost(layer):
    return innermost(layer.layers[-1]) if isinstance(layer, keras.Sequential) else layer


@pytest.mark.parametrize("case", LAYERS)
def test_what_xla_cannot_compile_is_seen_and_named(case):
    make, operation = LAYERS[case]
    layer = make()
    expected = {} if operation is None else {innermost(layer).name: operation}
    found = uncompilable(network(layer))
    assert found.keys() == expected.keys()
    if operation != "DecodeJpeg":  # of several, one is named
        assert found == expected


@pytest.mark.parametrize(
    "case", [case if case in COMPILED else pytest.param(case, marks=pytest.mark.slow) for case in LAYERS]
)
def test_xla_itself_says_the_same(case):
    make, operation = LAYERS[case]
    model = network(make())

    @tf.function(jit_compile=True, autograph=False)
    def step(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = tf.reduce_sum(model(images, training=True))
        return tape.gradient(outputs, images)

    images = tf.constant(IMAGES / np.float32(255))
    if operation is None:
        assert step(images).shape == images.shape
        return
    with pytest.raises(tf.errors.InvalidArgumentError):
        step(images)


def test_the_librarys_own_networks_compile():
    assert uncompilable(tiny(image_shape=(16, 16, 1), num_classes=3)) == {}


@pytest.mark.parametrize("accelerated", [False, True])
def test_auto_steps_back_with_a_note_and_true_is_refused(monkeypatch, accelerated):
    monkeypatch.setattr(compilation, "has_accelerator", lambda: accelerated)
    turned, plain = network(layers.RandomRotation(0.1, name="turned")), network()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert resolve_jit_compile("auto", plain) is accelerated
        assert resolve_jit_compile("auto") is accelerated
        assert not caught
        assert resolve_jit_compile("auto", turned) is False
    assert [str(each.message) for each in caught] == [
        "XLA is off: it cannot compile turned (ImageProjectiveTransformV3); without that layer, it would be on"
    ] * accelerated
    assert all(issubclass(each.category, XlaNote) for each in caught)
    message = (
        r"`jit_compile` of True: XLA cannot compile turned \(ImageProjectiveTransformV3\). "
        r"Give `jit_compile=False`, or `jit_compile='auto'`"
    )
    with pytest.raises(InputError, match=message):
        resolve_jit_compile(True, turned)
    assert resolve_jit_compile(True, plain) is True
    assert resolve_jit_compile(False, turned) is False


def test_a_defense_steps_back_and_trains_by_either_remedy(monkeypatch):
    monkeypatch.setattr(compilation, "has_accelerator", lambda: True)
    defense = AdversarialTraining(network(layers.RandomRotation(0.1)), attack_steps=1, validation_attack_steps=0)
    with pytest.raises(InputError, match="XLA cannot compile random_rotation"):
        defense.compile(keras.optimizers.SGD(0.1), jit_compile=True)
    with pytest.warns(XlaNote, match="XLA is off"):
        defense.compile(keras.optimizers.SGD(0.1), jit_compile="auto")
    assert not defense.use_xla
    assert np.isfinite(defense.fit(IMAGES, LABELS, verbose=0).history["loss"][0])
    defense.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    assert not defense.use_xla
