import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from agkd_tf.errors import InputError
from agkd_tf.models import Classifier, remove_softmax

IMAGES = tf.constant(np.random.default_rng(0).uniform(size=(2, 8, 8, 3)), tf.float32)


def sequential(*head, **last):
    return keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(5, 3, name="conv"), *head, layers.Dense(4, **last)])


def pooled(**last):
    return sequential(layers.GlobalAveragePooling2D(name="pool"), **last)


def nested(pooling):
    images = keras.Input((8, 8, 3))
    maps = layers.Conv2D(5, 3)(images)
    backbone = keras.Model(images, pooling(maps) if pooling else maps)
    x = backbone(outer := keras.Input((8, 8, 3)))
    return keras.Model(outer, layers.Dense(4)(x if pooling else layers.GlobalAveragePooling2D()(x)))


def with_softmax(layer):
    model = pooled()
    return keras.Model(model.inputs, layer(model.outputs[0]))


def shared_head():
    """The second of two networks that share input, pooling and dense layer, but not the convolution."""
    images, pool, head = keras.Input((8, 8, 3)), layers.GlobalAveragePooling2D(), layers.Dense(4)
    return [keras.Model(images, head(pool(layers.Conv2D(5, 3)(images)))) for _ in range(2)][1]


@pytest.mark.parametrize(
    ("model", "embedding"),
    [
        (pooled, 5),
        (lambda: sequential(layers.Flatten()), 180),
        (lambda: sequential(layers.GlobalMaxPooling2D(), layers.Dropout(0.5)), 5),
        (lambda: sequential(layers.GlobalAveragePooling2D(), layers.Dense(6, "relu")), 6),
        (lambda: nested(None), 5),
        (lambda: nested(layers.GlobalAveragePooling2D()), 5),
        (lambda: rescaled(pooled()), 5),
        (lambda: keras.Sequential([keras.Input((8, 8, 3)), nested(None)]), 5),
        (lambda: with_softmax(layers.Identity()), 5),
        (shared_head, 5),
    ],
    ids=["pooled", "flat", "dropout", "hidden", "nested", "nested_pooled", "whole", "twice", "identity", "shared"],
)
def test_feature_map_embedding_and_logits_are_found(model, embedding):
    model = model()
    classifier = Classifier(model)
    outputs = classifier(IMAGES)
    assert [tuple(tensor.shape) for tensor in outputs] == [(2, 6, 6, 5), (2, embedding), (2, 4)]
    assert (classifier.num_classes, classifier.image_shape, classifier.map_shape) == (4, (8, 8, 3), (6, 6))
    np.testing.assert_allclose(outputs.logits, model(IMAGES), atol=1e-6)


def test_a_wide_resnets_outputs_are_its_named_layers(tiny_model, digits):
    images = tf.constant(digits.test.images[:2] / 255, tf.float32)
    outputs = Classifier(tiny_model)(images)
    np.testing.assert_allclose(tf.reduce_mean(outputs.features, axis=[1, 2]), outputs.embedding, atol=1e-6)
    assert outputs.features.shape == (2, 4, 4, 64)
    assert outputs.features.numpy().min() == 0  # after the last ReLU
    dense = tiny_model.get_layer("logits")
    np.testing.assert_allclose(outputs.embedding @ dense.kernel + dense.bias, outputs.logits, atol=1e-5)


@pytest.mark.parametrize("layer", [layers.Softmax, lambda: layers.Activation("softmax")])
def test_a_softmax_layer_at_the_end_is_left_out(layer):
    model = with_softmax(layer())
    np.testing.assert_allclose(tf.nn.softmax(Classifier(model).logits(IMAGES)), model(IMAGES), atol=1e-6)


def test_training_mode_is_that_of_the_call():
    classifier = Classifier(sequential(layers.Flatten(), layers.Dropout(0.9)))
    np.testing.assert_array_equal(classifier(IMAGES).embedding, classifier(IMAGES).embedding)
    dropped = classifier(IMAGES, training=True).embedding
    assert np.mean(dropped == 0) > 0.5


def test_it_shares_the_models_weights():
    model = pooled()
    classifier = Classifier(model)
    model.layers[-1].bias.assign([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(classifier.logits(IMAGES), model(IMAGES), atol=1e-6)


def test_outputs_are_float32_and_raw_ones_in_the_models_type():
    with_bfloat16 = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(5, 3, dtype="mixed_bfloat16"),
            layers.Flatten(dtype="mixed_bfloat16"),
            layers.Dense(4, dtype="float32"),
        ]
    )
    classifier = Classifier(with_bfloat16)
    assert {tensor.dtype for tensor in classifier(IMAGES)} == {tf.float32}
    assert classifier.raw(IMAGES).features.dtype == tf.bfloat16


def test_named_layers_come_before_those_that_are_found():
    images = keras.Input((8, 8, 3))
    early = layers.Conv2D(5, 3, name="early")(images)
    hidden = layers.Dense(6, name="hidden")(layers.GlobalAveragePooling2D()(layers.Conv2D(7, 3)(early)))
    scores = layers.Dense(4, name="scores")(layers.Dense(3)(hidden))
    classifier = Classifier(
        keras.Model(images, layers.Rescaling(2.0)(scores)), features="early", embedding="hidden", logits="scores"
    )
    assert [tuple(tensor.shape) for tensor in classifier(IMAGES)] == [(2, 6, 6, 5), (2, 6), (2, 4)]
    assert classifier.layer_names == {"features": "early", "embedding": "hidden", "logits": "scores"}


def test_the_mean_of_a_dense_layer_on_each_place_is_one_on_the_mean():
    stack = [layers.Conv2D(5, 3), layers.Dense(4, use_bias=False), layers.GlobalAveragePooling2D()]
    model = keras.Sequential([keras.Input((8, 8, 3)), *stack])
    classifier = Classifier(model)
    outputs = classifier(IMAGES)
    np.testing.assert_allclose(outputs.logits, model(IMAGES), atol=1e-6)
    assert classifier.head_kernel.shape == (5, 4)
    np.testing.assert_allclose(outputs.embedding @ classifier.head_kernel, model(IMAGES), atol=1e-6)


def test_a_head_without_an_embedding_is_not_read_as_pooling_and_a_dense_layer():
    row = [layers.Conv2D(5, 3), layers.GlobalAveragePooling2D(), layers.Reshape((1, 5))]
    classifier = Classifier(keras.Sequential([keras.Input((8, 8, 3)), *row, layers.Dense(4), layers.Flatten()]))
    with pytest.raises(InputError, match="is not mean pooling and one dense layer"):
        classifier.check_pooled_dense()


@pytest.mark.parametrize("role", ["features", "embedding", "logits"])
def test_an_unknown_layer_is_refused_with_the_known_ones(role):
    with pytest.raises(InputError, match=r"no layer 'top'. It has: .*conv, pool"):
        Classifier(pooled(), **{role: "top"})


SOFTMAXES = ["softmax", keras.activations.softmax, keras.ops.softmax, tf.nn.softmax]


@pytest.mark.parametrize("activation", SOFTMAXES)
def test_a_dense_layers_own_softmax_is_seen_through(activation):
    model = pooled(activation=activation)
    classifier = Classifier(model)
    logits = classifier.logits(IMAGES)
    np.testing.assert_allclose(tf.nn.softmax(logits), model(IMAGES), atol=1e-6)
    model.layers[-1].bias.assign([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(classifier.logits(IMAGES) - logits, [[1, 2, 3, 4]] * 2, atol=1e-5)


@pytest.mark.parametrize("activation", SOFTMAXES)
def test_remove_softmax_gives_the_logits_of_the_same_weights(activation):
    model = pooled(activation=activation)
    logits = remove_softmax(model)(IMAGES)
    np.testing.assert_allclose(tf.nn.softmax(logits), model(IMAGES), atol=1e-6)
    assert not np.allclose(logits, model(IMAGES), atol=1e-2)
    np.testing.assert_array_equal(Classifier(remove_softmax(model)).logits(IMAGES), logits)


def test_remove_softmax_refuses_a_model_without_one():
    with pytest.raises(InputError, match=r"no softmax to remove\. Received: 'scores'"):
        remove_softmax(pooled(name="scores"))


def rescaled(model):
    return keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(2.0, -1.0), model])


def perceptron():
    return keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(6), layers.Dense(4)])


@pytest.mark.parametrize("model", [perceptron, lambda: rescaled(perceptron())], ids=["perceptron", "rescaled"])
def test_the_image_itself_is_never_taken_for_a_feature_map(model):
    classifier = Classifier(model())
    assert classifier(IMAGES).features is None
    with pytest.raises(InputError, match="feature map was not found"):
        classifier.check_features()


def two_inputs():
    images, others = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    return keras.Model([images, others], layers.Dense(4)(layers.Flatten()(layers.Add()([images, others]))))


def two_pools():
    images = keras.Input((8, 8, 3))
    x = layers.Conv2D(5, 3)(images)
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)])
    return keras.Model(images, layers.Dense(4)(x))


def test_logits_named_alone_must_come_from_one_tensor():
    images = keras.Input((8, 8, 3))
    pool = layers.GlobalAveragePooling2D(name="pool")(layers.Conv2D(5, 3, name="conv")(images))
    model = keras.Model(images, layers.Add(name="sum")([layers.Dense(4)(pool), layers.Dense(4)(pool)]))
    assert Classifier(model, features="conv", embedding="pool", logits="sum").num_classes == 4
    for names in ({}, {"logits": "sum"}, {"logits": "sum", "features": "conv"}):
        classifier = Classifier(model, **names)
        np.testing.assert_allclose(classifier.logits(IMAGES), model(IMAGES), atol=1e-6)
        with pytest.raises(InputError, match=r"`layer_names=\{'embedding': PATH\}`"):
            classifier.check_embedding()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: "model.keras", r"must be a keras.Model\. Received: 'model.keras'"),
        (lambda: keras.Sequential([layers.Flatten(), layers.Dense(4)]), r"call it once, as model\(x\[:1\]\)"),
        (lambda: keras.Sequential([keras.Input((8,)), layers.Dense(4)]), r"must take one image batch.*\(None, 8\)"),
        (two_inputs, "must take one image batch"),
        (lambda: keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3)]), r"must return one score per class"),
        (lambda: pooled(activation="relu", name="end"), r"'end' ends in relu: 4 scores.*remove_softmax\(model\)"),
    ],
    ids=["no model", "unbuilt", "vectors", "two inputs", "a map", "relu"],
)
def test_a_structure_that_is_not_understood_is_refused(model, message):
    with pytest.raises(InputError, match=message):
        Classifier(model())


def test_of_two_pools_of_one_map_it_is_that_map():
    classifier = Classifier(two_pools())
    assert (classifier.map_shape, classifier(IMAGES).embedding.shape) == ((6, 6), (2, 10))
