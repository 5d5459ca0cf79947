"""The scale of pixels: a network that takes others than those in [0, 1] has its own accuracy, or is refused."""

import json
import re
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import agkd_tf
from agkd_tf.attacks import parse_attack
from agkd_tf.data import Examples
from agkd_tf.errors import InputError, Note
from agkd_tf.evaluation import run_attack
from agkd_tf.models import Classifier, build_model

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE = (123.68, 116.779, 103.939)
CLEAN = parse_attack("clean", eps=0.1, norm="linf", num_classes=3)


def network(*front, shape=(8, 8, 3), dtype=None, data_format="channels_last"):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input(shape, dtype=dtype),
            *front,
            layers.Conv2D(4, 3, activation="tanh", name="conv", data_format=data_format),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def normalized(mean, std):
    return layers.Normalization(mean=mean, variance=np.square(std))


def subtracted():
    """A network whose first operations are those of a functional model's arithmetic."""
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3))
    x = layers.Flatten()(layers.Conv2D(4, 3, activation="tanh", name="conv")((images - 127.5) / 127.5))
    return keras.Model(images, layers.Dense(3)(x))


def within(inner):
    images = keras.Input((8, 8, 3))
    return keras.Model(images, inner(images))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = network(layers.Rescaling(1 / 255))

    def call(self, images):
        return self.inner(images)


def subclassed():
    model = Subclassed()
    model(IMAGES[:1].astype(np.float32))
    return model


def standardized(images):
    return (images / 255 - np.float32(MEAN)) / np.float32(STD)


# Name -> (network, what its own images are of uint8 ones, adapt's arguments, whether it says so by itself).
CASES = {
    "rescaling": (lambda: network(layers.Rescaling(1 / 255)), None, {"pixel_range": (0, 255)}, True),
    "rescaling to [-1, 1]": (
        lambda: network(layers.Rescaling(1 / 127.5, -1)),
        None,
        {"pixel_range": (0, 255)},
        True,
    ),
    "normalization": (lambda: network(normalized(CAFFE, (58, 57, 57))), None, {"pixel_range": (0, 255)}, True),
    "resizing first": (
        lambda: network(layers.Resizing(8, 8), layers.Rescaling(1 / 255)),
        None,
        {"pixel_range": (0, 255)},
        True,
    ),
    "padding first": (
        lambda: network(layers.ZeroPadding2D(1), layers.Rescaling(1 / 127.5, -1)),
        None,
        {"pixel_range": (0, 255)},
        True,
    ),
    "augmentation first": (
        lambda: network(layers.RandomRotation(0.1), layers.Rescaling(1 / 255)),
        None,
        {"pixel_range": (0, 255)},
        True,
    ),
    "arithmetic": (subtracted, None, {"pixel_range": (0, 255)}, True),
    "nested": (lambda: within(network(layers.Rescaling(1 / 255))), None, {"pixel_range": (0, 255)}, True),
    "preprocessing as a model": (
        lambda: network(keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(1 / 255)])),
        None,
        {"pixel_range": (0, 255)},
        True,
    ),
    "bytes": (
        lambda: network(layers.Rescaling(1 / 255), dtype="uint8"),
        lambda images: images,
        {"pixel_range": (0, 255)},
        True,
    ),
    "subclassed": (subclassed, None, {"pixel_range": (0, 255)}, False),
    "0 to 255 as they are": (network, None, {"pixel_range": (0, 255)}, False),
    "-1 to 1": (network, lambda images: images / 127.5 - 1, {"pixel_range": (-1, 1)}, False),
    "standardized": (network, standardized, {"mean": MEAN, "std": STD}, False),
    "standardized in 0..255": (
        network,
        standardized,
        {"pixel_range": (0, 255), "mean": [255 * each for each in MEAN], "std": [255 * each for each in STD]},
        False,
    ),
    "a mean alone": (
        network,
        lambda images: images - np.float32(CAFFE),
        {"pixel_range": (0, 255), "mean": CAFFE},
        False,
    ),
    "channels first": (
        lambda: network(shape=(3, 8, 8), data_format="channels_first"),
        lambda images: (images / 255).transpose(0, 3, 1, 2),
        {"channels": "first"},
        True,
    ),
    "channels first, standardized": (
        lambda: network(shape=(3, 8, 8), data_format="channels_first"),
        lambda images: standardized(images).transpose(0, 3, 1, 2),
        {"channels": "first", "mean": MEAN, "std": STD},
        True,
    ),
    "[0, 1]": (network, lambda images: images / 255, {}, False),
}


def own_images(name):
    to_own = CASES[name][1]
    images = IMAGES.astype(np.float32) if to_own is None else to_own(IMAGES)
    return tf.constant(images if images.dtype == np.uint8 else images.astype(np.float32))


@pytest.mark.parametrize("name", CASES)
def test_an_adapted_network_has_the_accuracy_that_keras_gives_on_its_own_pixels(name):
    build, _, arguments, _ = CASES[name]
    model = build()
    outputs = model(own_images(name), training=False).numpy()
    labels = outputs.argmax(1).astype(np.int32)
    labels[::4] = (labels[::4] + 1) % 3
    adapted = agkd_tf.adapt(model, **arguments)
    # One pixel of rounding would show in a mean difference of 1e-3.
    np.testing.assert_allclose(adapted(IMAGES / np.float32(255), training=False), outputs, rtol=1e-3, atol=2e-3)
    assert run_attack(adapted, Examples(IMAGES, labels), CLEAN).accuracy == 0.75
    weights = [id(weight) for weight in model.trainable_weights]
    assert [id(weight) for weight in adapted.trainable_weights] == weights
    # The image's gradient survives: a cast to bytes would end it.
    attack = parse_attack("pgd-5", eps=0.2, norm="linf", num_classes=3)
    assert run_attack(adapted, Examples(IMAGES, labels), attack).accuracy < 0.7


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[3]])
def test_a_network_that_says_so_is_refused_with_what_to_type(name):
    model = CASES[name][0]()
    with pytest.raises(InputError, match=r"Use `agkd_tf.adapt") as error:
        Classifier(model)
    for door in (
        lambda: agkd_tf.AdversarialTraining(model),
        lambda: run_attack(model, Examples(IMAGES, np.zeros(40)), CLEAN),
    ):
        with pytest.raises(InputError) as again:
            door()
        assert str(again.value) == str(error.value)
    code = re.search(r"`(agkd_tf\.adapt.*?)`", str(error.value))[1]
    remedied = eval(code, {"agkd_tf": agkd_tf, "model": model})
    assert Classifier(remedied).num_classes == 3


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (
            lambda: build_model("tiny", image_shape=(8, 8, 3), num_classes=3),
            {"pixel_range": (0, 255)},
            "scales its pixels",
        ),
        (lambda: network(layers.Rescaling(1 / 255)), {"pixel_range": (0, 1), "mean": MEAN, "std": STD}, "in 0..255"),
        (network, {"pixel_range": (255, 0)}, r"`pixel_range` must be .*Received: \(255, 0\)"),
        (network, {"pixel_range": 255}, "`pixel_range` must be"),
        (network, {"pixel_range": (0, float("nan"))}, "`pixel_range` must be"),
        (network, {"mean": (0.5, 0.5)}, "`mean` must be one number, or one for each of the 3 channels"),
        (network, {"mean": CAFFE}, r"`mean` must lie in pixel_range \(0 to 1\)"),
        (network, {"std": 0}, "`std` must be .*above 0"),
        (network, {"channels": "nchw"}, "`channels` must be one of last, first"),
        (network, {"output": "scores"}, "`output` must be one of logits, probabilities"),
        (lambda: network(layers.Rescaling(1 / 65535)), {}, r"in 0\.\.65535.*pixel_range=\(0, 65535\)"),
        (lambda: network(layers.Lambda(lambda x: x - 120.0)), {}, r"in 0\.\.255"),
    ],
)
def test_contradictions_and_values_that_fit_no_image_are_refused(model, arguments, message):
    with pytest.raises(InputError, match=message):
        Classifier(agkd_tf.adapt(model(), **arguments))


def test_training_the_adapted_network_trains_the_users_own_and_both_are_saved(tmp_path):
    model = network(layers.Rescaling(1 / 255))
    adapted = agkd_tf.adapt(model, pixel_range=(0, 255))
    before = model(IMAGES.astype(np.float32)).numpy()
    defense = agkd_tf.AdversarialTraining(adapted, attack_steps=1)
    defense.compile(keras.optimizers.SGD(0.1))
    defense.fit(IMAGES, np.arange(40) % 3, batch_size=20, verbose=0)
    outputs = model(IMAGES.astype(np.float32)).numpy()
    assert np.abs(outputs - before).max() > 0.01
    for each, images in ((model, IMAGES.astype(np.float32)), (adapted, IMAGES / np.float32(255))):
        each.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_allclose(loaded(images), outputs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("end", "seen"),
    [
        (lambda: layers.Softmax(), True),
        (lambda: layers.Lambda(lambda x: tf.nn.softmax(x)), False),
    ],
    ids=["seen", "hidden"],
)
def test_probabilities_are_adapted_too(end, seen):
    model = keras.Sequential([network(), end()])
    model.build((None, 8, 8, 3))
    images = tf.constant(IMAGES / np.float32(255))
    for output in ("logits", "probabilities") if seen else ("probabilities",):
        adapted = agkd_tf.adapt(model, output=output)
        np.testing.assert_allclose(tf.nn.softmax(adapted(images)), model(images), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("door", [lambda model: model, lambda model: lambda images: model(images, training=False)])
def test_a_network_that_is_no_better_than_chance_is_told_of_with_what_0_to_255_would_give(door):
    keras.utils.set_random_seed(0)
    model = network()
    # It tells images whose mean is above 127.5 of 0..255 from darker ones, and sees only dark ones in [0, 1].
    model.set_weights([np.zeros(weight.shape, np.float32) for weight in model.get_weights()])
    model.layers[0].activation = keras.activations.linear
    model.layers[0].kernel.assign(np.full((3, 3, 3, 4), 1 / 27, np.float32))
    model.layers[-1].kernel.assign(np.stack([np.zeros(144), np.full(144, 1 / 144), np.full(144, -1.0)], 1))
    model.layers[-1].bias.assign([127.5, 0.0, 0.0])
    bright = np.arange(40) % 2
    images = (IMAGES // 4 + 160 * bright[:, None, None, None]).astype(np.uint8)
    examples = Examples(images[bright == 1], np.ones(20, np.int32))
    message = r"0 of the first 20 clean images.*with 3 classes; with pixels in 0\.\.255, it would be 20: .*0, 2"
    with pytest.warns(Note, match=message):
        found = run_attack(door(model), examples, CLEAN)
    assert found.accuracy == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error", Note)
        assert run_attack(agkd_tf.adapt(model, pixel_range=(0, 255)), examples, CLEAN).accuracy == 1


@pytest.fixture(scope="module")
def bytes_network(tmp_path_factory, digits):
    """(a .keras file, a SavedModel) of one network of digits as bytes, and the accuracy that Keras gives it."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            layers.BatchNormalization(momentum=0.5),  # to which images in [0, 1] are all the same
            layers.Conv2D(8, 5, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss, metrics=["accuracy"])
    images = digits.train.images.astype(np.float32)
    model.fit(images, digits.train.labels, epochs=4, verbose=0)
    path = tmp_path_factory.mktemp("bytes")
    model.save(path / "bytes.keras")
    model.export(path / "bytes", verbose=False)
    agkd_tf.adapt(model, pixel_range=(0, 255)).save(path / "adapted.keras")
    _, accuracy = model.evaluate(digits.test.images.astype(np.float32), digits.test.labels, verbose=0)
    assert accuracy > 0.8
    return path, accuracy


DOORS = {
    "a file": (["--model_file=PATH/bytes.keras", "--pixel_range=0,255"], True),
    "a file by its mean": (["--model_file=PATH/bytes.keras", "--pixel_range=-100,155", "--pixel_mean=-100"], True),
    "a SavedModel": (["--saved_model=PATH/bytes", "--pixel_range=0,255"], True),
    "an adapted file": (["--model_file=PATH/adapted.keras"], True),
    "an exported one": (["--saved_model=PATH/exported"], True),
    "a file without a word": (["--model_file=PATH/bytes.keras"], False),
    "a SavedModel without a word": (["--saved_model=PATH/bytes"], False),
}


def accuracy_by(tool, path, flags, tmp_path):
    flags = [flag.replace("PATH", str(path)) for flag in flags]
    settings = ("--dataset=digits", "--eps=0.1", f"--record={tmp_path}/r.json")
    found = tool("evaluate", *settings, "--attacks=clean", *flags)
    assert found.returncode == 0, found.stderr
    return json.loads((tmp_path / "r.json").read_text())["attacks"]["clean [linf 0.1]"]["accuracy"], found.stderr


@pytest.mark.parametrize("name", DOORS)
def test_command_lines_record_the_accuracy_that_keras_gives(name, bytes_network, tool, tmp_path):
    path, expected = bytes_network
    flags, told = DOORS[name]
    if "exported" in name and not (path / "exported").exists():
        source = (f"--model_file={path}/bytes.keras", "--pixel_range=0,255", f"--output={path}/exported")
        assert tool("export", *source).returncode == 0
    accuracy, errors = accuracy_by(tool, path, flags, tmp_path)
    if told:
        assert accuracy == pytest.approx(expected, abs=1e-6)
        assert "chance" not in errors
    else:
        assert accuracy < 0.2
        assert "--pixel_range=0,255" in errors


def test_what_is_recorded_names_the_pixels_and_another_scale_is_another_model(bytes_network, tool, tmp_path):
    path, _ = bytes_network
    first, _ = accuracy_by(tool, path, DOORS["a file"][0], tmp_path)
    assert json.loads((tmp_path / "r.json").read_text())["subject"]["pixel_range"] == [0, 255]
    again, _ = accuracy_by(tool, path, DOORS["a file"][0], tmp_path)
    assert again == first
    assert not list(tmp_path.glob("*previous*"))  # the same one goes on
    accuracy_by(tool, path, DOORS["a file without a word"][0], tmp_path)
    assert list(tmp_path.glob("*previous*.json"))


def test_a_source_of_transfer_that_says_its_pixels_is_refused_with_its_own_flag(bytes_network, tool, tmp_path):
    path, _ = bytes_network
    network(layers.Rescaling(1 / 255), shape=(16, 16, 1)).save(tmp_path / "rescaled.keras")
    common = ("--dataset=digits", "--eps=0.1", f"--record={tmp_path}/r.json", "--num_examples=10")
    flags = (f"--model_file={path}/adapted.keras", f"--attacks=transfer:{tmp_path}/rescaled.keras")
    found = tool("evaluate", *common, *flags)
    assert found.returncode == 2
    assert "Use --source_pixel_range=0,255" in found.stderr


def test_a_source_of_transfer_has_pixels_of_its_own(bytes_network, tool, tmp_path):
    path, _ = bytes_network
    found = {}
    for source in ("bytes.keras", "bytes"):
        flags = (f"--attacks=transfer:{path}/{source}", "--transfer_attack=pgd-5", "--source_pixel_range=0,255")
        common = ("--dataset=digits", "--eps=0.1", f"--record={tmp_path}/r.json", "--num_examples=100")
        ran = tool("evaluate", f"--model_file={path}/adapted.keras", *common, *flags)
        assert ran.returncode == 0, ran.stderr
        assert "chance" not in ran.stderr
        (key,) = [each for each in json.loads((tmp_path / "r.json").read_text())["attacks"] if f"/{source} " in each]
        found[source] = json.loads((tmp_path / "r.json").read_text())["attacks"][key]["accuracy"]
    white = tool("evaluate", f"--model_file={path}/adapted.keras", *common, "--attacks=pgd-5")
    assert white.returncode == 0
    attacks = json.loads((tmp_path / "r.json").read_text())["attacks"]
    (own,) = [attacks[key]["accuracy"] for key in attacks if key.startswith("pgd-5")]
    # The source is the very network, so that transfer is as strong as the attack itself, but for its random start.
    assert max(abs(accuracy - own) for accuracy in found.values()) < 0.1
    assert own < 0.9


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model_file=PATH/bytes.keras", "--pixel_range=0,x"], "`pixel_range` must be a number"),
        (["--model_file=PATH/bytes.keras", "--pixel_range=255,0"], "`pixel_range` must be (least, greatest)"),
        (["--model_file=PATH/bytes.keras", "--channels=first"], "the model takes (16, 1, 16)"),
        (["--saved_model=PATH/bytes", "--logits_layer=dense"], "`logits_layer` is for a Keras file"),
    ],
)
def test_flags_that_fit_no_network_are_refused(flags, message, bytes_network, tool, tmp_path):
    flags = [flag.replace("PATH", str(bytes_network[0])) for flag in flags]
    found = tool("evaluate", "--dataset=digits", "--eps=0.1", f"--record={tmp_path}/r.json", "--attacks=clean", *flags)
    assert found.returncode == 2, found.stdout
    assert message in found.stderr
