"""What is attended, and heads: the map, the embedding and the logits of networks that others built."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import agkd_tf
from agkd_tf import ClassPool
from agkd_tf.attacks import parse_attack
from agkd_tf.data import Examples
from agkd_tf.errors import InputError
from agkd_tf.evaluation import masked_gradient_signs, run_attack
from agkd_tf.export import export_saved_model
from agkd_tf.models import Classifier, remove_softmax

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (24, 8, 8, 3)).astype(np.uint8)
LABELS = (np.arange(24) % 3).astype(np.int32)
FLOATS = tf.constant(IMAGES / np.float32(255))


def conv(filters=6, name=None, **settings):
    return layers.Conv2D(filters, 3, padding="same", name=name, **settings)


def network(*middle, scores=3, end=(), shape=(8, 8, 3)):
    """A sequential network that ends in a dense layer."""
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input(shape), *middle, *([layers.Dense(scores)] if scores else []), *end])


def pooled(*middle, **settings):
    return network(*middle, layers.GlobalAveragePooling2D(), **settings)


def functional(build, shape=(8, 8, 3)):
    keras.utils.set_random_seed(0)
    images = keras.Input(shape)
    return keras.Model(images, build(images))


def backbone(*last, name="backbone"):
    images = keras.Input((8, 8, 3))
    x = conv(name="conv")(images)
    for layer in last:
        x = layer(x)
    return keras.Model(images, x, name=name)


def squeezed(x):
    gate = layers.Dense(6, "sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return layers.Multiply(name="gated")([x, gate])


def residual(images):
    x = conv()(images)
    x = layers.Add(name="sum")([x, layers.BatchNormalization()(conv()(x))])
    return layers.Dense(3)(layers.Flatten()(layers.MaxPooling2D(2)(x)))


def branches(images):
    x = conv()(images)
    x = layers.Concatenate(name="joined")([conv(2)(x), conv(4)(x)])
    return layers.Dense(3)(layers.GlobalMaxPooling2D()(layers.Dropout(0.5)(x)))


def vit(images, class_token=False, pool=True, patches=True):
    tokens = layers.Conv2D(8, 2, strides=2)(images) if patches else keras.ops.image.extract_patches(images, (2, 2))
    tokens = layers.Dense(8)(layers.Reshape((16, tokens.shape[-1]))(tokens))
    if class_token:
        tokens = ClassToken()(tokens)
    x = layers.LayerNormalization()(tokens)
    x = layers.Add()([tokens, layers.MultiHeadAttention(2, 4)(x, x)])
    x = layers.Add()([x, layers.Dense(8, "gelu")(layers.LayerNormalization()(x))])
    x = layers.LayerNormalization(name="tokens")(x)
    return layers.Dense(3)(layers.GlobalAveragePooling1D()(x) if pool else x[:, 0])


@keras.saving.register_keras_serializable(package="tests")
class ClassToken(layers.Layer):
    def build(self, shape):
        self.token = self.add_weight(shape=(1, 1, shape[-1]))

    def call(self, tokens):
        return keras.ops.concatenate([keras.ops.repeat(self.token, keras.ops.shape(tokens)[0], 0), tokens], 1)

    def compute_output_shape(self, shape):
        return (shape[0], shape[1] + 1, shape[2])


@keras.saving.register_keras_serializable(package="tests")
class Patches(layers.Layer):
    def call(self, images):
        return keras.ops.reshape(keras.ops.image.extract_patches(images, (2, 2)), (-1, 16, 12))

    def compute_output_shape(self, shape):
        return (shape[0], 16, 12)


@keras.saving.register_keras_serializable(package="tests")
class Block(layers.Layer):
    """A block of a user's own, with a convolution inside."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.inner = conv()

    def call(self, x):
        return keras.ops.relu(self.inner(x))

    def compute_output_shape(self, shape):
        return (*shape[:3], 6)


def channels_first(images):
    x = layers.Permute((3, 1, 2))(images)
    x = layers.Conv2D(6, 3, data_format="channels_first", name="first")(x)
    return layers.Dense(3)(layers.GlobalAveragePooling2D(data_format="channels_first")(x))


# Name -> (network, the layer that makes the map, its size).
MAPS = {
    "pooled to one place": (
        lambda: network(conv(32, "conv"), layers.AveragePooling2D(8), layers.Flatten()),
        "conv",
        (8, 8),
    ),
    "pooled to several places": (
        lambda: network(conv(name="conv"), layers.MaxPooling2D(2), layers.Flatten()),
        "conv",
        (8, 8),
    ),
    "normalized, activated": (
        lambda: pooled(conv(), layers.BatchNormalization(), layers.ReLU(name="last")),
        "last",
        (8, 8),
    ),
    "activation behind pooling": (
        lambda: network(conv(name="conv"), layers.MaxPooling2D(4), layers.ReLU(), layers.Flatten()),
        "conv",
        (8, 8),
    ),
    "padded": (lambda: pooled(conv(name="conv"), layers.ZeroPadding2D(1)), "conv", (8, 8)),
    "cropped and upsampled": (
        lambda: pooled(conv(name="conv"), layers.Cropping2D(1), layers.UpSampling2D(2)),
        "conv",
        (8, 8),
    ),
    "depthwise": (lambda: pooled(layers.DepthwiseConv2D(3, name="last")), "last", (6, 6)),
    "separable": (lambda: pooled(layers.SeparableConv2D(5, 3, name="last")), "last", (6, 6)),
    "transposed": (lambda: pooled(layers.Conv2DTranspose(5, 2, strides=2, name="last")), "last", (16, 16)),
    "dense on places": (lambda: pooled(conv(), layers.Dense(5, name="last")), "last", (8, 8)),
    "dropout": (lambda: pooled(conv(), layers.SpatialDropout2D(0.5, name="last")), "last", (8, 8)),
    "one place of its own": (lambda: network(conv(name="conv"), layers.Conv2D(9, 8), layers.Flatten()), "conv", (8, 8)),
    "residual": (lambda: functional(residual), "sum", (8, 8)),
    "branches": (lambda: functional(branches), "joined", (8, 8)),
    "squeeze and excitation": (
        lambda: functional(lambda x: layers.Dense(3)(layers.GlobalAveragePooling2D()(squeezed(conv()(x))))),
        "gated",
        (8, 8),
    ),
    "a block of one's own": (lambda: pooled(Block(name="last")), "last", (8, 8)),
    "backbone": (lambda: pooled(backbone()), "backbone", (8, 8)),
    "backbone with its pooling": (lambda: network(backbone(layers.GlobalMaxPooling2D())), "backbone/conv", (8, 8)),
    "backbone within a backbone": (
        lambda: network(keras.Sequential([keras.Input((8, 8, 3)), backbone(layers.Flatten())], name="outer")),
        "outer/backbone/conv",
        (8, 8),
    ),
    "frozen backbone": (
        lambda: functional(lambda x: layers.Dense(3)(backbone(layers.GlobalMaxPooling2D())(x, training=False))),
        "backbone/conv",
        (8, 8),
    ),
    "a whole classifier": (lambda: network(pooled(conv(name="conv")), scores=0), "conv", (8, 8)),
    "tokens": (lambda: functional(vit), "tokens", (4, 4)),
    "tokens and a class token": (lambda: functional(lambda x: vit(x, True, False)), "tokens", (4, 4)),
    "patches": (lambda: functional(lambda x: vit(x, patches=False)), "tokens", (4, 4)),
    "patches of one's own": (
        lambda: network(Patches(), layers.Dense(5, name="last"), layers.GlobalAveragePooling1D()),
        "last",
        (4, 4),
    ),
    "not square": (lambda: pooled(layers.Conv2D(6, (3, 1), name="last")), "last", (6, 8)),
    "channels first": (lambda: functional(channels_first), "first", (6, 6)),
}


def value_of(model, path):
    """Returns what a layer makes of the images, by Keras alone."""
    name, _, inner = path.partition("/")
    names = [layer.name for layer in model.layers]
    if name not in names:  # within a model that is not named on the way
        return value_of(next(layer for layer in model.layers if isinstance(layer, keras.Model)), path)
    layer = model.get_layer(name)
    if inner:
        return value_of(layer, inner)
    if isinstance(layer, keras.Model):
        return layer(FLOATS, training=False).numpy()
    return keras.Model(model.inputs, layer.output)(FLOATS, training=False).numpy()


@pytest.mark.parametrize("name", MAPS)
def test_the_map_is_the_last_one_that_a_convolution_made(name):
    build, path, size = MAPS[name]
    model = build()
    classifier = Classifier(model)
    classifier.check_features()
    classifier.check_embedding()
    outputs = classifier(FLOATS)
    assert classifier.map_shape == size
    expected = value_of(model, path)
    if name == "channels first":
        expected = expected.transpose(0, 2, 3, 1)
    if expected.ndim == 3:  # tokens, perhaps behind one of the class
        expected = expected[:, -16:].reshape(-1, 4, 4, expected.shape[2])
    np.testing.assert_allclose(outputs.features, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(outputs.logits, model(FLOATS, training=False), rtol=1e-4, atol=1e-5)
    named = Classifier(model, features=path)
    np.testing.assert_array_equal(named(FLOATS).features, outputs.features)


def image_tokens(images):
    return layers.Dense(3)(layers.Flatten()(layers.Reshape((64, 3))(images)))


def rows(images):
    """A recurrent network over 4 rows, which are no 2x2 places."""
    return layers.Dense(3)(layers.LSTM(4)(layers.Reshape((4, 48))(images)))


def two_maps(images):
    maps = [conv(name=name)(images) for name in ("left", "right")]
    return layers.Dense(3)(layers.Concatenate()([layers.GlobalAveragePooling2D()(each) for each in maps]))


# Name -> (network, the words that say why there is no map, or why the named one is none, the name).
NO_MAPS = {
    "perceptron": (lambda: network(layers.Flatten(), layers.Dense(5)), "no convolution makes", None),
    "rescaled perceptron": (lambda: network(layers.Rescaling(2.0), layers.Flatten()), "no convolution makes", None),
    "pooled image": (lambda: network(layers.AveragePooling2D(2), layers.Flatten()), "no convolution makes", None),
    "tokens of the image": (lambda: functional(image_tokens), "no convolution makes", None),
    "rows": (lambda: functional(rows), "no convolution makes", None),
    "one place": (lambda: network(layers.Conv2D(9, 8), layers.Flatten()), "no convolution makes", None),
    "two maps": (lambda: functional(two_maps), "left and right both lead to the logits.*Larger maps: .*right", None),
    "named, one place": (
        lambda: network(
            conv(name="conv"), layers.AveragePooling2D(8, name="p"), layers.Conv2D(4, 1, name="one"), layers.Flatten()
        ),
        r"'one' has a map with one position, which cannot show.*Larger maps: conv \(8x8\)",
        "one",
    ),
    "named, no map": (
        lambda: network(layers.Flatten(name="flat")),
        r"'flat' makes neither a feature map.*\(None, 192\)",
        "flat",
    ),
    "named, the image": (
        lambda: pooled(layers.Rescaling(2.0, name="scaled"), conv(name="conv")),
        r"'scaled' makes neither a feature map.*Larger maps: conv \(8x8\)",
        "scaled",
    ),
    "unknown name": (lambda: pooled(backbone()), r"no layer 'top'. It has: backbone/conv, backbone,", "top"),
}


@pytest.mark.parametrize("name", NO_MAPS)
def test_a_network_without_a_map_is_refused_by_attention_and_taken_by_all_others(name):
    build, message, layer = NO_MAPS[name]
    model, names = build(), {"features": layer} if layer else {}
    with pytest.raises(InputError, match=message):
        agkd_tf.AGKDBML(model, pool=ClassPool(IMAGES, LABELS, num_classes=3), layer_names=names)
    assert agkd_tf.AdversarialTraining(model).classifier.num_classes == 3


class Subclassed(keras.Model):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, images, training=False):
        return self.inner(images, training=training)


def subclassed(*end):
    model = Subclassed(pooled(conv(), end=end))
    model(FLOATS[:1])
    return model


# Networks that show no map, or nothing but their scores.
OTHERS = {
    "perceptron": lambda: network(layers.Flatten(), layers.Dense(5)),
    "vision transformer": lambda: functional(lambda x: vit(x, True, False)),
    "subclassed": subclassed,
    "subclassed within": lambda: network(subclassed(), scores=0),
    "ensemble": lambda: functional(lambda x: layers.Average()([pooled(conv())(x), network(layers.Flatten())(x)])),
    "a whole classifier": lambda: network(pooled(conv()), scores=0),
}
SLOW = ("vision transformer", "subclassed within", "a whole classifier")
DEFENSES = [agkd_tf.AdversarialTraining, agkd_tf.TRADES, agkd_tf.MART, agkd_tf.ALP, agkd_tf.FeatureScatter]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in OTHERS]
)
def test_what_needs_no_map_takes_every_classifier(name, tmp_path):
    model = OTHERS[name]()
    expected = np.argmax(model(FLOATS, training=False), 1)
    examples = Examples(IMAGES, expected.astype(np.int32))
    attack = parse_attack("pgd-2", eps=0.3, norm="linf", num_classes=3)
    assert run_attack(model, examples, parse_attack("clean", eps=0.1, norm="linf", num_classes=3)).accuracy == 1
    adversaries = np.zeros(FLOATS.shape, np.float32)
    run_attack(model, examples, attack, adversaries=adversaries)
    assert np.abs(adversaries - FLOATS).max() == pytest.approx(0.3, abs=1e-5)
    defense = DEFENSES[list(OTHERS).index(name) % len(DEFENSES)](model, attack_steps=1, validation_attack_steps=1)
    defense.compile(keras.optimizers.SGD(0.1))
    before = [weight.numpy() for weight in model.trainable_weights]
    defense.fit(IMAGES, LABELS, batch_size=12, verbose=0)
    assert all(np.any(weight != old) for weight, old in zip(model.trainable_weights, before, strict=True))
    export_saved_model(model, tmp_path / "saved_model")
    served = tf.saved_model.load(str(tmp_path / "saved_model")).signatures["serving_uint8"](images=IMAGES)
    np.testing.assert_allclose(served["logits"], model(FLOATS, training=False), rtol=1e-4, atol=1e-4)
    assert ("attention" in served) == (name in ("vision transformer", "a whole classifier", "ensemble"))


@pytest.mark.slow
def test_an_audit_takes_a_subclassed_model():
    signs = masked_gradient_signs(subclassed(), Examples(IMAGES[:4], LABELS[:4]), eps=0.1)
    assert "one step beats many" in {sign.name for sign in signs}


@pytest.mark.parametrize(
    "name",
    [
        "tokens and a class token",
        "backbone with its pooling",
        pytest.param("tokens", marks=pytest.mark.slow),
        pytest.param("channels first", marks=pytest.mark.slow),
    ],
)
def test_attention_is_distilled_to_what_others_built(name):
    model = MAPS[name][0]()
    defense = agkd_tf.AGKDBML(model, pool=ClassPool(IMAGES, LABELS, num_classes=3), validation_attack_steps=0)
    defense.compile(keras.optimizers.SGD(0.1))
    history = defense.fit(IMAGES, LABELS, batch_size=12, epochs=2, verbose=0).history
    assert history["attention"][-1] > 0
    assert np.isfinite(history["loss"]).all()


def scored(scores, *end, activation=None):
    return network(conv(), layers.GlobalAveragePooling2D(), layers.Dense(scores, activation), *end, scores=0)


def pointwise(*end, activation=None):
    return network(conv(), layers.Conv2D(3, 1, activation=activation), *end, scores=0)


def probabilities(model):
    return model(FLOATS, training=False).numpy()


def two_classes(model):
    positive = probabilities(model)
    return np.concatenate([1 - positive, positive], 1)


def of_scores(model):
    return tf.nn.softmax(probabilities(model)).numpy()


# Name -> (network, the probabilities that its logits must have).
HEADS = {
    "dense": (lambda: scored(3), of_scores),
    "softmax layer": (lambda: scored(3, layers.Softmax()), probabilities),
    "activation layer": (lambda: scored(3, layers.Activation("softmax")), probabilities),
    "softmax of the dense layer": (lambda: scored(3, activation="softmax"), probabilities),
    "softmax operation": (
        lambda: functional(lambda x: keras.ops.softmax(layers.Dense(3)(layers.Flatten()(x)))),
        probabilities,
    ),
    "softmax in float32": (
        lambda: scored(3, layers.Softmax(), layers.Activation("linear", dtype="float32")),
        probabilities,
    ),
    "log-softmax": (lambda: scored(3, layers.Activation("log_softmax")), of_scores),
    "temperature": (lambda: scored(3, layers.Rescaling(0.5)), of_scores),
    "one score": (
        lambda: scored(1),
        lambda model: np.concatenate([1 - (p := tf.sigmoid(probabilities(model)).numpy()), p], 1),
    ),
    "sigmoid of one score": (lambda: scored(1, activation="sigmoid"), two_classes),
    "sigmoid layer of one score": (lambda: scored(1, layers.Activation("sigmoid")), two_classes),
    "sigmoid operation of one score": (
        lambda: functional(lambda x: keras.ops.sigmoid(layers.Dense(1)(layers.Flatten()(x)))),
        two_classes,
    ),
    "1x1 convolution, pooled": (lambda: pointwise(layers.GlobalAveragePooling2D()), of_scores),
    "1x1 convolution, pooled, softmax": (
        lambda: pointwise(layers.GlobalAveragePooling2D(), layers.Softmax()),
        probabilities,
    ),
    "1x1 convolution, relu, pooled, softmax": (
        lambda: pointwise(layers.GlobalAveragePooling2D(), layers.Softmax(), activation="relu"),
        probabilities,
    ),
    "1x1 convolution of a pooled map": (
        lambda: network(
            conv(),
            layers.GlobalAveragePooling2D(keepdims=True),
            layers.Conv2D(3, 1),
            layers.Flatten(),
            layers.Softmax(),
            scores=0,
        ),
        probabilities,
    ),
    "softmax before the flattening": (
        lambda: network(
            conv(),
            layers.GlobalAveragePooling2D(keepdims=True),
            layers.Conv2D(3, 1, activation="softmax"),
            layers.Reshape((3,)),
            scores=0,
        ),
        probabilities,
    ),
    "whole classifier with softmax": (lambda: network(scored(3, layers.Softmax()), scores=0), probabilities),
}


@pytest.mark.parametrize("name", HEADS)
def test_logits_are_those_before_the_activation(name):
    build, expected = HEADS[name]
    model = build()
    classifier = Classifier(model)
    outputs = classifier(FLOATS)
    np.testing.assert_allclose(tf.nn.softmax(outputs.logits), expected(model), rtol=1e-4, atol=1e-6)
    assert outputs.logits.shape[1] == classifier.num_classes == max(2, model.output_shape[-1])
    assert outputs.embedding.shape == (24, 192 if "operation" in name else 6)


class OwnDense(layers.Dense):
    """A dense layer of a user's own class, which may do more than its kernel says."""


def with_lora(activation=None):
    model = scored(3, activation=activation)
    model.layers[-1].enable_lora(2)
    model.layers[-1].lora_kernel_b.assign(np.ones((2, 3), np.float32))
    return model


def test_lora_counts_where_no_activation_hides_it():
    model = with_lora()
    np.testing.assert_allclose(Classifier(model).logits(FLOATS), model(FLOATS), rtol=1e-5, atol=1e-6)


# Name -> (network, the activation that the line names).
NO_LOGITS = {
    "sigmoid": (lambda: scored(3, activation="sigmoid"), "sigmoid"),
    "relu": (lambda: scored(3, activation="relu"), "relu"),
    "tanh of one score": (lambda: scored(1, activation="tanh"), "tanh"),
    "relu layer": (lambda: scored(3, layers.ReLU()), "relu"),
    "sigmoid layer": (lambda: scored(3, layers.Activation("sigmoid")), "sigmoid"),
    "sigmoid operation": (
        lambda: functional(lambda x: keras.ops.sigmoid(layers.Dense(3)(layers.Flatten()(x)))),
        "sigmoid",
    ),
    "nested": (lambda: network(scored(3, activation="sigmoid"), scores=0), "sigmoid"),
    "1x1 convolution": (
        lambda: network(
            layers.GlobalAveragePooling2D(keepdims=True),
            layers.Conv2D(3, 1, activation="relu"),
            layers.Flatten(),
            scores=0,
        ),
        "relu",
    ),
}


@pytest.mark.parametrize("name", NO_LOGITS)
def test_scores_of_another_activation_are_refused_and_the_remedy_works(name):
    build, activation = NO_LOGITS[name]
    model = build()
    with pytest.raises(InputError, match=rf"ends in {activation}: .*agkd_tf\.models\.remove_softmax\(model\)"):
        Classifier(model)
    remedied = remove_softmax(model)
    classifier = Classifier(remedied)
    activate = keras.activations.get(activation)
    np.testing.assert_allclose(activate(remedied(FLOATS)), model(FLOATS), rtol=1e-4, atol=1e-6)
    assert classifier.num_classes == max(2, model.output_shape[-1])


@pytest.mark.parametrize("name", [name for name in HEADS if "softmax" in name and name != "log-softmax"])
def test_remove_softmax_works_on_every_softmax(name):
    model = HEADS[name][0]()
    logits = remove_softmax(model)(FLOATS)
    np.testing.assert_allclose(tf.nn.softmax(logits), model(FLOATS), rtol=1e-4, atol=1e-6)
    assert np.abs(np.sum(logits, 1) - 1).max() > 1e-3


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: pointwise(activation="softmax"), "must return one score per class"),
        (
            lambda: pointwise(layers.GlobalAveragePooling2D(), activation="softmax"),
            r"softmax at each position.*output=\"probabilities\"",
        ),
        (lambda: with_lora("softmax"), r"has LoRA, ends in softmax, which cannot be removed"),
        (
            lambda: network(layers.Flatten(), OwnDense(3, "softmax"), scores=0),
            r"is a OwnDense, ends in softmax, which cannot be removed",
        ),
        (lambda: subclassed(layers.Softmax()), r"returns probabilities.*output=\"probabilities\""),
        (
            lambda: functional(lambda x: layers.Average()([scored(3, layers.Softmax())(x) for _ in range(2)])),
            r"returns probabilities.*output=\"probabilities\"",
        ),
        (
            lambda: functional(lambda x: [layers.Dense(3)(layers.Flatten()(x)) for _ in range(2)]),
            r"has 2 outputs.*`layer_names=\{'logits': PATH\}`",
        ),
        (lambda: Subclassed(pooled(conv())), r"has not been called yet.*model\(x\[:1\]\)"),
    ],
    ids=[
        "map of scores",
        "mean of probabilities",
        "LoRA",
        "own class",
        "subclassed",
        "ensemble",
        "two outputs",
        "never called",
    ],
)
def test_a_head_that_is_not_understood_is_refused(build, message):
    with pytest.raises(InputError, match=message):
        Classifier(build())


@pytest.mark.parametrize(
    "build",
    [
        lambda: subclassed(layers.Softmax()),
        lambda: functional(lambda x: layers.Average()([scored(3, layers.Softmax())(x) for _ in range(2)])),
        lambda: pointwise(layers.GlobalAveragePooling2D(), activation="softmax"),
        lambda: subclassed_sigmoid(),
    ],
    ids=["subclassed", "ensemble", "mean of probabilities", "one probability"],
)
def test_probabilities_that_no_layer_shows_are_adapted(build):
    model = build()
    adapted = agkd_tf.adapt(model, output="probabilities")
    found = tf.nn.softmax(Classifier(adapted).logits(FLOATS)).numpy()
    expected = probabilities(model) if model(FLOATS).shape[1] > 1 else two_classes(model)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def subclassed_sigmoid():
    model = Subclassed(scored(1, activation="sigmoid"))
    model(FLOATS[:1])
    return model


@pytest.mark.parametrize(
    "name", ["one score", "sigmoid of one score", "1x1 convolution, pooled, softmax", "softmax layer"]
)
def test_an_adapted_network_shows_what_the_users_own_shows(name, tmp_path):
    model = HEADS[name][0]()
    adapted = agkd_tf.adapt(model)
    adapted.save(tmp_path / "adapted.keras")
    for each in (adapted, keras.saving.load_model(tmp_path / "adapted.keras")):
        for found, expected in zip(Classifier(each)(FLOATS), Classifier(model)(FLOATS), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
