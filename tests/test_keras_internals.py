"""What is private in Keras and TensorFlow is used in one file, and still does what that file says of it."""

import ast
import contextlib
import functools
import importlib
import inspect
import os
import pathlib
import pkgutil
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import agkd_tf
from agkd_tf import keras_internals

ROOT = pathlib.Path(__file__).resolve().parents[1]
ROOM = ROOT / "agkd_tf" / "keras_internals.py"
PRIVATE_PACKAGES = ("keras.src.", "tensorflow.python.", "tensorflow.core.", "tf.python.")
BY_STRING = {"getattr", "setattr", "hasattr", "delattr", "attrgetter", "get", "pop"}
NAMED_TUPLES = {"_fields", "_replace", "_asdict"}  # documented, in spite of their names


@contextlib.contextmanager
def relied_on(entry):
    """Fails in one line that names the entry, whatever has become of what it uses."""
    try:
        yield
    except Exception as error:
        versions = f"Keras {keras.__version__}, TensorFlow {tf.__version__}"
        reason, *_ = f"{type(error).__name__}: {error}".splitlines()
        pytest.fail(f"{versions} changed what agkd_tf.keras_internals.{entry} relies on: {reason}", pytrace=False)


class Wrapping(layers.Layer):
    """Has a layer of its own."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, inputs):
        return self.inner(inputs)


def test_all_layers_are_found_within_models_and_layers_each_once():
    with relied_on("all_layers"):
        dense = layers.Dense(2)
        inner = keras.Sequential([keras.Input((2,)), dense])
        images = keras.Input((2,))
        wrapping = Wrapping(layers.Dense(2))
        model = keras.Model(images, wrapping(dense(inner(images))))
        found = keras_internals.all_layers(model)
        assert {inner, dense, wrapping, wrapping.inner} < set(found), "a layer is missing"
        assert model not in found, "the model itself is among its layers"
        assert found.count(dense) == 1, "a shared layer is there twice"


class OfItsOwn(keras.Model):
    """No graph of layers."""

    def call(self, images):
        return images


def test_functional_models_are_told_from_those_that_run_code_of_their_own():
    with relied_on("functional_of"):
        images = keras.Input((2,))
        functional = keras.Model(images, layers.ReLU()(images))
        sequential = keras.Sequential([images, layers.ReLU()])
        assert keras_internals.functional_of(functional) is functional, "a functional model is none"
        inner = keras_internals.functional_of(sequential)
        assert [call.operation for call in keras_internals.calls(inner)] == sequential.layers, "Sequential is none"

        class Doubled(type(functional)):
            def call(self, inputs, training=None, mask=None):
                return 2 * super().call(inputs, training, mask)

        class DoubledSequence(keras.Sequential):
            def call(self, inputs, training=None, mask=None):
                return 2 * super().call(inputs, training, mask)

        others = [Doubled(images, images), DoubledSequence([images, layers.ReLU()]), OfItsOwn(), layers.ReLU()]
        assert [keras_internals.functional_of(each) for each in others] == [None] * 4, "code of a model's own is missed"


class Scaled(layers.Layer):
    """Takes a keyword argument."""

    def call(self, inputs, factor=1.0):
        return factor * inputs


def test_the_calls_of_a_model_run_by_hand_give_what_the_model_does():
    with relied_on("calls"):
        images = keras.Input((3,))
        dense, scaled = layers.Dense(3), Scaled()
        twice = dense(dense(images))
        model = keras.Model(images, layers.Add()([scaled(twice, factor=3.0), images]))
        given = np.random.default_rng(0).random((2, 3)).astype(np.float32)
        values, run = {id(images): given}, []
        for call in keras_internals.calls(model):
            args, kwargs = call.arguments([values[id(symbol)] for symbol in call.inputs])
            run.append(call.operation)
            outputs = keras.tree.flatten(call.operation(*args, **kwargs))
            values.update({id(symbol): value for symbol, value in zip(call.outputs, outputs, strict=True)})
        assert run[:3] == [dense, dense, scaled], "the calls have another order"
        np.testing.assert_allclose(values[id(model.outputs[0])], model(given), rtol=1e-6)


def test_a_model_of_bytes_has_a_gradient_by_float_images():
    with relied_on("run_without_input_layer"):
        images = keras.Input((2,), dtype="uint8")
        model = keras.Model(images, layers.Rescaling(2.0)(images))
        floats = keras.Input((2,))
        adapted = keras.Model(floats, keras_internals.run_without_input_layer(model, floats))
        given = tf.constant([[0.25, 0.75]])
        with tf.GradientTape() as tape:
            tape.watch(given)
            outputs = adapted(given)
        gradient = tape.gradient(outputs, given)
        np.testing.assert_array_equal(outputs, 2 * given)  # bytes would be 0
        assert gradient is not None, "float images have no gradient"
        np.testing.assert_array_equal(gradient, [[2.0, 2.0]])


@pytest.mark.parametrize("layer", [layers.Dense(2), layers.Conv2D(2, 1)], ids=["dense", "convolution"])
def test_a_shared_kernel_is_one_variable(layer):
    with relied_on("share_kernel"):
        images = np.ones((1, 1, 1, 3), np.float32)
        layer(images)
        twin = type(layer).from_config(layer.get_config())
        keras_internals.share_kernel(twin, layer)
        twin.built, twin.bias = True, layer.bias
        assert twin.kernel is layer.kernel, "it is not the other's `kernel`"
        assert twin.trainable_weights[0] is layer.kernel, "it is not among the weights"
        layer.kernel.assign(0.5 * np.ones(layer.kernel.shape))
        np.testing.assert_array_equal(twin(images), layer(images))
        assert twin(images)[0, 0, 0, 0] == 1.5, "it is not what the layer computes with"


def test_what_an_optimizer_keeps_for_a_weight_is_found_also_by_its_tensorflow_variable():
    with relied_on("slot_of"):
        weights = [keras.Variable([0.0]), keras.Variable([0.0, 0.0])]
        optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
        optimizer.build(weights)
        for weight, slot in zip(weights, optimizer.momentums, strict=True):
            assert keras_internals.slot_of(optimizer, optimizer.momentums, weight) is slot
            assert keras_internals.slot_of(optimizer, optimizer.momentums, weight.value) is slot


def test_what_xla_has_kernels_of_is_known():
    with relied_on("device_types_of_kernels"):
        tf.function(tf.negative, jit_compile=True)(tf.constant(0.0))
        assert {"CPU", "XLA_CPU_JIT"} <= keras_internals.device_types_of_kernels("Conv2D"), "Conv2D has no kernels"
        compiled = keras_internals.device_types_of_kernels("StringJoin")
        assert "CPU" in compiled, "StringJoin has no kernel on the CPU"
        assert "XLA_CPU_JIT" not in compiled, "XLA joins strings"
        assert keras_internals.device_types_of_kernels("NoSuchOperation") == set(), "unknown operations have kernels"


def test_whether_onednn_is_on_is_what_the_environment_says():
    with relied_on("onednn_is_on"):
        assert keras_internals.onednn_is_on() is (os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1"), "it is not the switch"


class Noting(keras.Model):
    """Notes which of the private methods that defenses override Keras calls, and how."""

    def __init__(self):
        super().__init__()
        self.dense, self.noted = layers.Dense(1), []

    def call(self, images):
        return self.dense(images)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        self.noted.append("iterator" if data_batch is None else "batch")

    def _get_metrics_result_or_logs(self, logs):
        self.noted.append(sorted(logs))
        return {"loss": 7.0}

    def evaluate(self, *args, **kwargs):
        self.noted.append("cached" if kwargs.get(keras_internals.CALLED_BY_FIT) else "by itself")
        return super().evaluate(*args, **kwargs)


def test_keras_calls_the_methods_that_defenses_override():
    x, y = np.ones((4, 2), np.float32), np.ones((4, 1), np.float32)
    model = Noting()
    model.compile("sgd", "mse")
    with relied_on("OVERRIDDEN"):
        assert set(keras_internals.OVERRIDDEN) <= set(dir(keras.Model)), "Keras has a method no longer"
        history = model.fit(x, y, verbose=0).history
        assert model.noted == ["iterator", ["loss"]], "`fit` calls another method"
        assert history == {"loss": [7.0]}, "`fit` reports something else"
        model.noted.clear()
        assert model.evaluate(x, y, verbose=0, return_dict=True) == {"loss": 7.0}, "`evaluate` reports something else"
        assert model.noted == ["by itself", "iterator", ["loss"]], "`evaluate` calls another method"
        model.noted.clear()
        model.train_on_batch(x, y)
        model.test_on_batch(x, y)
        assert model.noted == ["batch", "batch"], "`train_on_batch` calls another method"


def test_fit_says_that_it_evaluates():
    x, y = np.ones((4, 2), np.float32), np.ones((4, 1), np.float32)
    model = Noting()
    model.compile("sgd", "mse")
    with relied_on("CALLED_BY_FIT"):
        model.fit(x, y, validation_data=(x, y), verbose=0)
        assert "cached" in model.noted, "`fit` calls `evaluate` with another keyword"
        assert "by itself" not in model.noted, "`fit` does not say that it calls `evaluate`"


def library_classes():
    names = [each.name for each in pkgutil.walk_packages(agkd_tf.__path__, "agkd_tf.")]
    modules = [importlib.import_module(name) for name in names]
    return {
        each
        for module in modules
        for each in vars(module).values()
        if inspect.isclass(each) and each.__module__ == module.__name__
    }


def private(names):
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def own_names(cls):
    """Returns the private names that a class' own code defines: methods, class attributes, attributes of `self`."""
    return private(assigned_to_self(cls) | set(vars(cls))) - {"_abc_impl"}


@functools.cache
def assigned_to_self(cls):
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    stored = (each for each in ast.walk(tree) if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store))
    return {each.attr for each in stored if ast.unparse(each.value) == "self"}


def names_of_keras(cls):
    """Returns the private names that the bases from elsewhere have, their instances' among them."""
    bases = [each for each in cls.__mro__ if each.__module__.startswith(("keras.", "tensorflow."))]
    return private(set().union(*(assigned_to_self(base) | set(vars(base)) for base in bases)))


def test_no_class_takes_a_private_name_of_keras_but_the_listed_ones():
    taken = {cls.__name__: own_names(cls) & names_of_keras(cls) for cls in library_classes() if names_of_keras(cls)}
    assert len(taken) > 15
    assert set().union(*taken.values()) == set(keras_internals.OVERRIDDEN), taken


@pytest.mark.parametrize("folder", ["agkd_tf", "tools"])
def test_only_one_file_uses_what_is_private_in_keras_and_tensorflow(folder):
    trees = {path: ast.parse(path.read_text("utf-8")) for path in (ROOT / folder).rglob("*.py") if path != ROOM}
    inherited = set().union(*map(defined, trees.values()))
    found = [f"{path.relative_to(ROOT)}: {use}" for path, tree in trees.items() for use in uses(tree, inherited)]
    assert not found, "belongs in agkd_tf/keras_internals.py"


def defined(tree):
    """Returns the private names that a file's code defines."""
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value):
            names.add(node.attr)
    return private(names)


def is_self(node):
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def uses(tree, inherited=()):
    """Yields imports of private packages and private attributes that are not the library's own, as strings too.

    Args:
        tree: of a file.
        inherited: private names that `self` may have from other files.
    """
    own = defined(tree) | NAMED_TUPLES
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            begin = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            imported = [f"{begin}{alias.name}." for alias in node.names]
            yield from (name for name in imported if name.startswith(PRIVATE_PACKAGES))
        elif isinstance(node, ast.Attribute):
            allowed = own | set(inherited) if is_self(node.value) else own
            if private([node.attr]) - allowed or f"{ast.unparse(node)}.".startswith(PRIVATE_PACKAGES):
                yield ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in BY_STRING:
            strings = [each.value for each in node.args if isinstance(each, ast.Constant)]
            yield from (text for text in strings if isinstance(text, str) and private([text]) - own)


@pytest.mark.parametrize(
    "code",
    [
        "from keras.src.models import functional",
        "import tensorflow.python.framework.ops as ops",
        "from keras import src",
        "model._flatten_layers()",
        "self._assert_compile_called('fit')",
        "keras.src.backend.x",
        "getattr(layer, '_kernel')",
        "kwargs.get('_use_cached_eval_dataset')",
        "layer._kernel = other",
    ],
)
def test_each_way_to_use_a_private_name_is_seen(code):
    assert list(uses(ast.parse(code)))


def test_own_names_may_be_used():
    own = "class A:\n  def __init__(self):\n    self._a, b = 1, found._replace(x=2)\n  def _c(self):\n    return b._a"
    assert not list(uses(ast.parse(own)))
    assert not list(uses(ast.parse("self._c()"), {"_c"}))
