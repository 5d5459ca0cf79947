"""Networks from elsewhere on the command lines: `tools.train --model=FILE.keras`, and networks that many people use."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import agkd_tf
from agkd_tf import ClassPool
from agkd_tf.attacks import parse_attack
from agkd_tf.data import Examples
from agkd_tf.evaluation import run_attack
from agkd_tf.models import Classifier

SETTINGS = (
    "--train_examples=40",
    "--validation_examples=20",
    "--epochs=1",
    "--batch_size=20",
    "--validation_attack_steps=1",
    "--panel_every=1",
    "--decay_epochs=",
    "--learning_rate=0.01",
    "--progress=off",
)


def network(*front, classes=10, shape=(16, 16, 1), mapped=True):
    keras.utils.set_random_seed(1)
    middle = [layers.Conv2D(4, 3, 2), layers.BatchNormalization(), layers.ReLU(name="last")] if mapped else []
    return keras.Sequential([keras.Input(shape), *front, *middle, layers.Flatten(), layers.Dense(classes)])


@pytest.fixture
def train(tool, tmp_path):
    """Returns train(model, *flags), of a model that is saved first."""

    def call(model, *flags, dataset="digits"):
        model.save(tmp_path / "own.keras")
        run = f"--workdir={tmp_path}/run"
        return tool("train", f"--dataset={dataset}", f"--model={tmp_path}/own.keras", run, *SETTINGS, *flags)

    return call


def student(tmp_path):
    return keras.saving.load_model(tmp_path / "run" / "student.keras")


TRAINED = {
    "its own pixels": (network, ["--defense=at", "--attack_steps=1"]),
    "0 to 255": (
        lambda: network(layers.Rescaling(1 / 255)),
        ["--defense=at", "--attack_steps=1", "--pixel_range=0,255"],
    ),
    "attention": (network, ["--defense=agkd_bml", "--attack_steps=1", "--teacher=OWN", "--features_layer=last"]),
    "attention of 0 to 255": (
        lambda: network(layers.Rescaling(1 / 255)),
        ["--defense=agkd", "--attack_steps=1", "--teacher=OWN", "--pixel_range=0,255"],
    ),
    "no map": (lambda: network(mapped=False), ["--defense=trades", "--attack_steps=1"]),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in ("its own pixels", "0 to 255", "no map") else name
        for name in TRAINED
    ],
)
def test_a_users_own_network_is_trained_evaluated_and_exported(name, train, tool, tmp_path, digits):
    build, flags = TRAINED[name]
    model = build()
    found = train(model, *(flag.replace("OWN", f"{tmp_path}/own.keras") for flag in flags))
    assert found.returncode == 0, found.stderr
    trained = student(tmp_path)
    scale = 1.0 if "255" in name else 1 / 255
    images = digits.test.images[:50]
    # A step of 0.01 leaves what the network says of images much as it was, but not as it was.
    before, after = model(images * np.float32(scale)).numpy(), trained(images / np.float32(255)).numpy()
    assert 0 < np.abs(after - before).max() < 0.5 * np.ptp(before)
    if name != "attention of 0 to 255":  # the one that has all of it
        return
    evaluated = tool("evaluate", f"--workdir={tmp_path}/run", "--attacks=clean,fgsm", "--num_examples=20")
    assert evaluated.returncode == 0, evaluated.stderr
    assert tool("export", f"--workdir={tmp_path}/run").returncode == 0
    served = tf.saved_model.load(f"{tmp_path}/run/saved_model").signatures["serving_uint8"](images=images)["logits"]
    np.testing.assert_allclose(served, after, rtol=1e-4, atol=1e-4)
    again = tool(
        "train", f"--flagfile={tmp_path}/run/flags.txt", f"--workdir={tmp_path}/run", "--epochs=2", "--progress=off"
    )
    assert again.returncode == 0, again.stderr


@pytest.mark.slow
def test_fresh_weights_are_those_of_the_seed_and_not_the_files(train, tmp_path):
    model, found = network(), []
    for seed in (3, 3, 4):
        flags = ("--reinitialize", f"--seed={seed}", "--learning_rate=1e-30", f"--workdir={tmp_path}/{len(found)}")
        trained = train(model, "--defense=undefended", *flags)
        assert trained.returncode == 0, trained.stderr
        found.append(keras.saving.load_model(tmp_path / str(len(found)) / "student.keras").get_weights()[0])
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[0] - found[2]).max() > 0.01
    assert np.abs(found[0] - model.get_weights()[0]).max() > 0.01


def test_a_dry_run_describes_it(train):
    found = train(
        network(keras.Sequential([keras.Input((16, 16, 1)), layers.Conv2D(2, 1)])), "--defense=at", "--dry_run"
    )
    assert found.returncode == 0, found.stderr
    assert "GFLOP" in found.stdout


REFUSED = {
    "other classes": (lambda: network(classes=7), [], "has 7 classes, `dataset` digits has 10"),
    "another size": (
        lambda: network(shape=(8, 8, 1)),
        [],
        "takes images (8, 8, 1), `dataset` digits has (16, 16, 1): --image_size",
    ),
    "other channels": (
        lambda: network(shape=(16, 16, 3)),
        [],
        "takes images (16, 16, 3), `dataset` digits has (16, 16, 1)",
    ),
    "0 to 255": (lambda: network(layers.Rescaling(1 / 255)), [], "Use --pixel_range=0,255"),
    "no map": (
        lambda: network(mapped=False),
        ["--defense=agkd_bml", "--noinit_from_teacher", "--teacher=OWN"],
        "the feature map was not found",
    ),
    "precision": (network, ["--mixed_precision=bfloat16"], "`mixed_precision` is determined by the file"),
    "activation": (network, ["--activation=silu"], "`activation` is for a network that is built by its name"),
    "normalisation": (network, ["--input_mean=0.5", "--input_std=0.25"], "`pixel_mean` normalises its images"),
    "unknown layer": (network, ["--features_layer=top"], "no layer 'top'"),
    "no file": (network, ["--model=/missing/own.keras"], "`model` must be"),
    "pixels of a built network": (
        network,
        ["--model=tiny", "--pixel_range=0,255"],
        "`pixel_range` is for a network from a file",
    ),
    "fresh weights of a built network": (
        network,
        ["--model=tiny", "--reinitialize"],
        "`reinitialize` is for a network from a file, --model=FILE",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_one_line(name, train, tmp_path):
    build, flags, message = REFUSED[name]
    found = train(build(), "--defense=at", *(flag.replace("OWN", f"{tmp_path}/own.keras") for flag in flags))
    assert found.returncode == 2, found.stdout
    assert message in found.stderr
    assert found.stderr.count("\n") == 1


RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (4, 64, 64, 3)).astype(np.uint8)
APPLICATIONS = {
    "MobileNetV2": ({}, (2, 2)),
    "ResNet50V2": ({}, (2, 2)),
    "EfficientNetV2B0": ({"pixel_range": (0, 255)}, (2, 2)),
    "DenseNet121": ({}, (2, 2)),
    "VGG16": ({}, (4, 4)),
    "ConvNeXtTiny": ({"pixel_range": (0, 255)}, (2, 2)),
}


def transfer(name, pooling, **adaptation):
    backbone = getattr(keras.applications, name)(
        weights=None, include_top=False, pooling=pooling, input_shape=(64, 64, 3)
    )
    backbone.trainable = False
    images = keras.Input((64, 64, 3))
    x = backbone(layers.RandomFlip("horizontal")(images), training=False)
    x = x if pooling else layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, layers.Dense(3, "softmax")(layers.Dropout(0.2)(x)))


NETWORKS = {
    name: (lambda name=name: getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3), classes=3), *case)
    for name, case in APPLICATIONS.items()
} | {
    "transfer from MobileNetV2": (lambda: transfer("MobileNetV2", "avg"), {}, (2, 2)),
    "transfer from EfficientNetB0": (lambda: transfer("EfficientNetB0", None), {"pixel_range": (0, 255)}, (2, 2)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_that_many_use_are_defended_and_evaluated(name):
    build, adaptation, size = NETWORKS[name]
    keras.utils.set_random_seed(0)
    model = build()
    images = IMAGES.astype(np.float32) if adaptation else IMAGES / np.float32(255)
    expected = model(images, training=False).numpy()
    adapted = agkd_tf.adapt(model, **adaptation) if adaptation else model
    classifier = Classifier(adapted)
    assert classifier.map_shape == size
    logits = classifier.logits(tf.constant(IMAGES / np.float32(255)))
    np.testing.assert_allclose(tf.nn.softmax(logits), expected, rtol=1e-3, atol=1e-5)
    examples = Examples(IMAGES, np.argmax(logits, 1).astype(np.int32))  # untrained, probabilities round to equal ones
    attacks = [parse_attack(each, eps=8 / 255, norm="linf", num_classes=3) for each in ("clean", "pgd-1")]
    assert run_attack(adapted, examples, attacks[0]).accuracy == 1
    pool = ClassPool(IMAGES, [0, 1, 2, 0], num_classes=3)
    defense = agkd_tf.AGKDBML(adapted, pool=pool, attack_steps=1, validation_attack_steps=0)
    defense.compile(keras.optimizers.SGD(1e-3))
    history = defense.fit(IMAGES, [0, 1, 2, 0], batch_size=2, verbose=0).history  # two steps
    assert np.isfinite(history["loss"]).all()
    assert history["attention"][0] > 0
    assert 0 <= run_attack(defense, examples, attacks[1]).accuracy <= 1
    assert np.abs(model(images, training=False).numpy() - expected).max() > 0  # the user's own is trained
