"""Networks that other programs wrote: each works as in its own program, or one line says what to type.

What a SavedModel gives is compared with what Keras gives for the network within it, logits and gradients.
"""

import json
import pathlib
import re
import shlex
import types

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from keras.src.legacy.saving import legacy_h5_format  # the writer of Keras 2's files

from agkd_tf import InputError
from agkd_tf.attacks import parse_attack
from agkd_tf.errors import Note
from agkd_tf.evaluation import run_attack, saved_model_logits, subject_at
from agkd_tf.models.storage import load_classifier

HERE = pathlib.Path(__file__).parent
SHAPE, CLASSES = (16, 16, 1), 10


@pytest.fixture(scope="module")
def network(smooth_network):
    return smooth_network(SHAPE)


@pytest.fixture(scope="module")
def images():
    return tf.constant(np.random.default_rng(0).random((11, *SHAPE)), tf.float32)


def logits_and_gradient(logits, images):
    """Returns float32 [B, n] and float32 [B, H, W, C], the gradient of the first class' log-probability."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        scores = logits(images)
        likelihood = tf.reduce_sum(tf.nn.log_softmax(scores)[:, 0])
    return scores, tape.gradient(likelihood, images)


def save(folder, network, function, *specs, names=("serving_default",)):
    """Writes a SavedModel of `function`, by one signature a spec."""
    module = tf.Module()
    module.network = network
    signatures = {
        name: tf.function(function, input_signature=[spec]).get_concrete_function()
        for name, spec in zip(names, specs, strict=True)
    }
    tf.saved_model.save(module, str(folder), signatures=signatures)


def spec(batch=None, dtype=tf.float32, shape=SHAPE):
    return tf.TensorSpec([batch, *shape], dtype, name="pictures")


def scores(network):
    return lambda images: {"scores": network(tf.cast(images, tf.float32))}


def write_of_tensorflow_1(folder, network, training_too=False):
    """Writes what TensorFlow 1 wrote: a graph and a session's variables; with another graph, of training, too."""
    builder = tf.compat.v1.saved_model.Builder(str(folder))
    values = [*network.layers[0].get_weights(), *network.layers[-1].get_weights()]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        pictures = tf.compat.v1.placeholder(tf.float32, [None, *SHAPE])
        kernel, bias, weights, offset = (
            tf.compat.v1.get_variable(f"v{number}", initializer=value) for number, value in enumerate(values)
        )
        features = tf.tanh(tf.nn.conv2d(pictures, kernel, 1, "VALID") + bias)
        flat = tf.reshape(features, [-1, int(np.prod(features.shape[1:]))])
        session.run(tf.compat.v1.global_variables_initializer())
        signature = tf.compat.v1.saved_model.predict_signature_def({"x": pictures}, {"y": flat @ weights + offset})
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        if training_too:
            builder.add_meta_graph(["train"])
        builder.save()


# Name -> (how it is written, arguments of saved_model_logits).
UNDERSTOOD = {
    "a batch size of 1": (lambda folder, network: save(folder, network, scores(network), spec(1)), {}),
    "a batch size of 4": (lambda folder, network: save(folder, network, scores(network), spec(4)), {}),
    "a batch size of 64": (lambda folder, network: save(folder, network, scores(network), spec(64)), {}),
    "Keras' own export": (lambda folder, network: network.export(str(folder), verbose=False), {}),
    "Keras' own export, by name": (
        lambda folder, network: network.export(str(folder), verbose=False),
        {"signature": "serve", "output": "output_0"},
    ),
    "a signature of another name": (
        lambda folder, network: save(folder, network, scores(network), spec(), names=("predict",)),
        {},
    ),
    "several signatures": (
        lambda folder, network: save(
            folder, network, scores(network), spec(dtype=tf.uint8), spec(), names=("serving_default", "floats")
        ),
        {"signature": "floats"},
    ),
    "several outputs": (
        lambda folder, network: save(
            folder, network, lambda x: {"a": network(x), "b": tf.argmax(network(x), 1)}, spec()
        ),
        {"output": "a"},
    ),
    "float64": (lambda folder, network: save(folder, network, scores(network), spec(dtype=tf.float64)), {}),
    "channels first": (
        lambda folder, network: save(
            folder, network, lambda x: network(tf.transpose(x, [0, 2, 3, 1])), spec(shape=(1, 16, 16))
        ),
        {},
    ),
    "channels first, a batch size of 4": (
        lambda folder, network: save(
            folder, network, lambda x: network(tf.transpose(x, [0, 2, 3, 1])), spec(4, shape=(1, 16, 16))
        ),
        {},
    ),
    "TensorFlow 1": (write_of_tensorflow_1, {}),
    "TensorFlow 1, for training too": (lambda *arguments: write_of_tensorflow_1(*arguments, training_too=True), {}),
}


@pytest.mark.filterwarnings("ignore::agkd_tf.errors.Note")
@pytest.mark.parametrize("name", UNDERSTOOD)
def test_a_saved_model_gives_the_logits_and_gradients_of_its_network(name, network, images, tmp_path):
    write, arguments = UNDERSTOOD[name]
    write(tmp_path / "saved", network)
    logits, classes, shape = saved_model_logits(tmp_path / "saved", **arguments)
    assert (classes, shape) == (CLASSES, SHAPE)
    graph = tf.function(lambda x: logits_and_gradient(logits, x), input_signature=[spec()])
    for found in (logits_and_gradient(logits, images), graph(images)):
        for ours, its in zip(found, logits_and_gradient(network, images), strict=True):
            np.testing.assert_allclose(ours, its, atol=1e-5)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_images_are_cast_to_half_precision_and_gradients_back(dtype, network, images, tmp_path):
    save(tmp_path / "saved", network, scores(network), spec(dtype=dtype))
    logits, *_ = saved_model_logits(tmp_path / "saved")
    found = logits_and_gradient(logits, images)
    # The network sees what this precision keeps of the images.
    expected = logits_and_gradient(network, tf.cast(tf.cast(images, dtype), tf.float32))
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-2, atol=1e-3)


def test_channels_first_are_told_of(network, tmp_path):
    save(tmp_path / "saved", network, lambda x: network(tf.transpose(x, [0, 2, 3, 1])), spec(shape=(1, 16, 16)))
    with pytest.warns(Note, match=r"takes channels first, \(None, 1, 16, 16\): images are transposed for it"):
        saved_model_logits(tmp_path / "saved")


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_attack_on_batches_of_fixed_size_breaks_the_images_that_it_breaks_without(jit_compile, fragile, tmp_path):
    network, examples = fragile
    save(tmp_path / "saved", network, scores(network), spec(4))
    logits, *_ = saved_model_logits(tmp_path / "saved")
    attack = parse_attack("pgd-3", eps=0.01)
    found, expected = (
        run_attack(each, examples, attack, batch_size=9, jit_compile=jit_compile) for each in (logits, network)
    )
    assert 0 < expected.correct.sum() < 30
    np.testing.assert_array_equal(found.correct, expected.correct)


def without_variables(folder, network):
    save(folder, network, scores(network), spec())
    (folder / "variables" / "variables.data-00000-of-00001").unlink()


def two_inputs(folder, network):
    module = tf.Module()
    module.network = network
    function = tf.function(lambda pictures, training: network(pictures))
    concrete = function.get_concrete_function(spec(), tf.TensorSpec([], tf.bool, name="training"))
    tf.saved_model.save(module, str(folder), signatures=concrete)


# Name -> (how it is written, arguments of saved_model_logits, the line).
REFUSED = {
    "integers": (
        lambda folder, network: save(folder, network, scores(network), spec(dtype=tf.uint8)),
        {},
        r"It takes: uint8 \(None, 16, 16, 1\), which have no gradient: save it with a signature that takes "
        r"tf.TensorSpec\(\[None, H, W, C\], tf.float32\)",
    ),
    "integers, beside floats": (
        lambda folder, network: save(
            folder, network, scores(network), spec(dtype=tf.uint8), spec(), names=("serving_default", "floats")
        ),
        {},
        r"It takes: uint8 \(None, 16, 16, 1\); `signature='floats'` takes float32",
    ),
    "flat images": (
        lambda folder, network: save(
            folder, network, lambda x: network(tf.reshape(x, [-1, *SHAPE])), spec(shape=(256,))
        ),
        {},
        r"must take float32 images \[B, H, W, C\]. It takes: float32 \(None, 256\)",
    ),
    "two inputs": (two_inputs, {}, r"must take one image batch. It takes: pictures, training"),
    "no signature": (
        lambda folder, network: tf.saved_model.save(tf.Module(), str(folder)),
        {},
        r"has no signature: save it with one, tf.saved_model.save\(module, folder, signatures=",
    ),
    "several signatures, none the default": (
        lambda folder, network: save(folder, network, scores(network), spec(), spec(), names=("a", "b")),
        {},
        r"has no signature 'serving_default'. It has: a, b \(`signature=NAME`\)",
    ),
    "several outputs": (
        lambda folder, network: save(
            folder, network, lambda x: {"a": network(x), "b": tf.argmax(network(x), 1)}, spec()
        ),
        {},
        r"must be one of a float32 \(None, 10\), b int64 \(None,\) \(`output=NAME`\). Received: None",
    ),
    "classes, not logits": (
        lambda folder, network: save(folder, network, lambda x: {"b": tf.argmax(network(x), 1)}, spec()),
        {},
        r"`output` must be float \[B, n\] with a known n. Received: 'b', int64 \(None,\)",
    ),
    "missing variables": (without_variables, {}, r"cannot be read: .*variables.data-00000-of-00001; No such file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_another_saved_model_is_refused_in_one_line(name, network, tmp_path):
    write, arguments, line = REFUSED[name]
    write(tmp_path / "saved", network)
    with pytest.raises(InputError, match=f"^`saved_model`.*{line}") as error:
        saved_model_logits(tmp_path / "saved", **arguments)
    assert "\n" not in str(error.value)


def python_in_it(folder, network):
    """Writes a program that calls Python, which a SavedModel cannot hold."""
    module = tf.Module()

    def predict(pictures):
        found = tf.numpy_function(lambda pixels: pixels, [network(pictures)], tf.float32)
        return {"scores": tf.ensure_shape(found, [None, CLASSES])}

    module.network, module.predict = network, tf.function(predict, input_signature=[spec()])
    tf.saved_model.save(module, str(folder), signatures=module.predict)


def test_a_program_that_calls_python_is_refused_when_it_runs(network, images, start, tmp_path):
    process = start(python_in_it_elsewhere, tmp_path / "saved")
    assert process.wait(100) == 0, process.stderr
    logits, *_ = saved_model_logits(tmp_path / "saved")
    with pytest.raises(InputError, match=r"saved does not run: \w+Error: ") as error:
        logits(images)
    assert "\n" not in str(error.value)


def python_in_it_elsewhere(folder):
    python_in_it(folder, keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(CLASSES)]))


def test_a_file_of_keras_2_gives_what_keras_2_gave():
    images = np.arange(32, dtype=np.float32).reshape(2, 4, 4, 1) / 32
    expected = [[0.0319285, 0.0986937, 0.1508866], [0.0176786, 0.0565421, 0.0883372]]
    np.testing.assert_allclose(load_classifier("model", HERE / "keras_2.h5")(images), expected, atol=1e-6)


@pytest.mark.parametrize("suffix", ["h5", "hdf5"])
def test_an_h5_file_gives_what_its_network_gives(suffix, network, images, tmp_path):
    network.save(tmp_path / "network.h5")
    path = (tmp_path / "network.h5").rename(tmp_path / f"network.{suffix}")
    subject = subject_at("model_file", path)
    assert (subject.num_classes, subject.image_shape) == (CLASSES, SHAPE)
    np.testing.assert_allclose(subject.logits(images), network(images), atol=1e-6)


class Doubled(layers.Layer):
    """Somebody's own layer, which is known to nobody else."""

    def call(self, images):
        return 2 * images


def keras_network(path, hidden=None, outputs=1, inputs=1):
    given = [keras.Input(SHAPE, name=f"pictures_{number}") for number in range(inputs)]
    x = layers.Add()(given) if inputs > 1 else given[0]
    x = layers.Flatten()(hidden(x) if hidden else x)
    found = [layers.Dense(CLASSES, name=f"scores_{number}")(x) for number in range(outputs)]
    network = keras.Model(given, found)
    network.save(path)
    return network


# Name -> (file, how it is written, the line).
FILES = {
    "a Lambda layer": (
        "n.keras",
        lambda path: keras_network(path, layers.Lambda(lambda x: 2 * x)),
        "it has a Lambda layer, whose code is stored in the file; if you trust it: python -c",
    ),
    "a Lambda layer in an h5 file": (
        "n.h5",
        lambda path: keras_network(path, layers.Lambda(lambda x: 2 * x)),
        "it has a Lambda layer, whose code is stored in the file; if you trust it: python -c",
    ),
    "a layer of its maker's": (
        "n.keras",
        lambda path: keras_network(path, Doubled()),
        "it needs Doubled, which is not part of Keras: python -c",
    ),
    "a layer of its maker's in an h5 file": (
        "n.h5",
        lambda path: keras_network(path, Doubled()),
        "it needs Doubled, which is not part of Keras: python -c",
    ),
}


def typed(message):
    """Does what the line says to type: the Python code between double quotes; returns the folder that it names."""
    code = shlex.split(re.search(r'python -c (".*?")', message)[1])[0]
    own = types.ModuleType("YOURS")
    own.Doubled = Doubled
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "YOURS", own)
        exec(code, {})
    return re.search(r"then evaluate `saved_model='(.*)'`$", message)[1]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_brings_code_is_refused_and_what_the_line_says_to_type_opens_it(name, images, tmp_path):
    file, write, line = FILES[name]
    network = write(tmp_path / file)
    with pytest.raises(InputError, match=f"^`model_file`: .*{file} cannot be read: {line}") as error:
        subject_at("model_file", tmp_path / file)
    assert "\n" not in str(error.value)
    found = subject_at("model_file", typed(str(error.value)))
    np.testing.assert_allclose(found.logits(images), network(images), atol=1e-5)


@pytest.mark.parametrize(("file", "more"), [("keras_2.keras", ""), ("keras_2_ops.h5", " (with custom_objects=")])
def test_a_file_of_keras_2_that_keras_3_cannot_read_is_refused_with_its_conversion(file, more):
    """The line was typed where tf_keras is installed: both files become SavedModels with the same outputs."""
    with pytest.raises(InputError) as error:
        load_classifier("model", HERE / file)
    assert f"{file} cannot be read: it was written by Keras 2 (" in str(error.value)
    assert f"): pip install tf_keras, and{more}" in str(error.value)
    folder = f"{HERE / file.partition('.')[0]}_saved_model"
    code = f"import tf_keras; tf_keras.models.load_model('{HERE / file}', compile=False).export('{folder}')"
    assert str(error.value).endswith(f'python -c "{code}", then evaluate `saved_model={folder!r}`')


@pytest.mark.parametrize("file", ["n.weights.h5", "n.h5"])
def test_weights_without_their_network_are_refused_and_what_the_line_says_to_type_opens_them(file, network, tmp_path):
    if file == "n.weights.h5":
        network.save_weights(tmp_path / file)
    else:  # as `save_weights` of Keras 2 writes it
        with h5py.File(tmp_path / file, "w") as group:
            legacy_h5_format.save_weights_to_hdf5_group(group, network)
    with pytest.raises(InputError, match=r"holds weights without their network: build it .* `model`, then ") as error:
        load_classifier("model", tmp_path / file)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        exec(str(error.value).partition(" then ")[2], {"model": keras.models.clone_model(network)})
    for ours, its in zip(load_classifier("m", tmp_path / "n.keras").get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, its)


def test_a_network_of_several_outputs_is_refused_and_what_the_line_says_to_type_opens_it(command, images, tmp_path):
    network = keras_network(tmp_path / "n.keras", outputs=2)
    line = r"`model_file` must have one input, .*, and one output, .*\. Received: .*pictures_0 to scores_0, scores_1"
    with pytest.raises(InputError, match=line) as error:
        subject_at("model_file", tmp_path / "n.keras")
    assert str(error.value).endswith("`logits_layer=LAYER`")
    found = command(f"--model_file={tmp_path}/n.keras", f"--logits_layer={network.layers[-1].name}")
    assert found.returncode == 0, found.stderr


def test_a_network_of_several_inputs_is_refused_in_one_line(tmp_path):
    keras_network(tmp_path / "n.keras", inputs=2)
    with pytest.raises(InputError, match=r"must have one input.* from pictures_0, pictures_1 to scores_0$"):
        subject_at("model_file", tmp_path / "n.keras")


@pytest.fixture
def command(tool, tmp_path):
    """Returns command(*flags): an evaluation of 18 digits."""

    def call(*flags):
        common = ("--dataset=digits", f"--record={tmp_path}/r.json", "--eps=0.1", "--num_examples=18")
        return tool("evaluate", *common, "--attacks=clean", *flags)

    return call


# Name -> (what lies at PATH, flags that open it).
DOORS = {
    "a SavedModel as a model file": ("saved", ["--model_file=PATH"]),
    "a file of Keras as a SavedModel": ("n.keras", ["--saved_model=PATH"]),
    "a signature and an output by name": ("saved", ["--saved_model=PATH", "--signature=serve", "--output=output_0"]),
    "an h5 file": ("n.h5", ["--model_file=PATH"]),
}


@pytest.mark.parametrize("name", DOORS)
def test_command_lines_take_each_kind_by_either_flag(name, command, network, digits, tmp_path):
    file, flags = DOORS[name]
    path = tmp_path / file
    network.save(path) if path.suffix else network.export(str(path), verbose=False)
    found = command(*(flag.replace("PATH", str(path)) for flag in flags))
    assert (found.returncode, found.stderr) == (0, "")
    seen = network.predict(digits.test.images[:18] / np.float32(255), verbose=0).argmax(1)
    (result,) = json.loads((tmp_path / "r.json").read_text())["attacks"].values()
    assert result["accuracy"] == np.mean(seen == digits.test.labels[:18])


def test_probabilities_are_refused_and_what_the_line_says_to_type_evaluates_them(command, network, tmp_path):
    save(tmp_path / "saved", network, lambda images: {"scores": tf.nn.softmax(network(images))}, spec())
    found = command(f"--saved_model={tmp_path}/saved")
    assert found.returncode == 2
    assert found.stderr.count("\n") == 1
    assert found.stderr.endswith("for a SavedModel, give --probabilities\n")
    found = command(f"--saved_model={tmp_path}/saved", "--probabilities")
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--saved_model=PATH/nowhere"], "error: `saved_model` PATH/nowhere cannot be read: SavedModel file does not"),
        (
            ["--model_file=PATH/n.keras", "--signature=serve"],
            "error: `signature` is for a `saved_model`. Received: --m",
        ),
        (["--workdir=PATH/saved"], "error: `workdir` has no flags.txt: it is not a run's folder. Rec"),
        (["--model_file=PATH/saved", "--saved_model=PATH/saved"], "error: one of `workdir`, `model_file` and `saved_m"),
    ],
)
def test_other_command_lines_end_in_one_line(flags, line, command, network, tmp_path):
    network.export(str(tmp_path / "saved"), verbose=False)
    network.save(tmp_path / "n.keras")
    found = command(*(flag.replace("PATH", str(tmp_path)) for flag in flags))
    assert found.returncode == 2
    assert found.stderr.count("\n") == 1
    assert found.stderr.startswith(line.replace("PATH", str(tmp_path)))
