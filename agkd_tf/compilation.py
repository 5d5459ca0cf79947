"""Decides whether to compile with XLA, and finds what XLA cannot compile."""

import collections
import warnings
from collections.abc import Collection, Iterator
from typing import Any, Literal

import keras
import tensorflow as tf

from agkd_tf.errors import InputError, Note, check_choice
from agkd_tf.keras_internals import all_layers, device_types_of_kernels
from agkd_tf.types import ImageShape

JitCompile = Literal["auto", True, False]
# Layers whose operations XLA has, but whose shapes are known only when a step runs, which XLA cannot compile.
OF_UNKNOWN_SHAPES = (keras.layers.RandomElasticTransform,)
# Part of every traced function, but not an operation of its program.
ARGUMENTS = {"Placeholder"}


class XlaNote(Note):
    """Says that XLA is off although it would be on by default, and why."""


def resolve_jit_compile(
    jit_compile: JitCompile, network: keras.Model | None = None, image_shape: ImageShape | None = None
) -> bool:
    """Returns whether to compile with XLA, as a bool.

    Args:
        jit_compile: True, False, or "auto": on with a GPU or TPU, off on the CPU, where oneDNN is faster.
        network: `keras.Model` to be trained; its training pass is searched for what XLA cannot compile. None to skip
            the search.
        image_shape: as in `uncompilable`.

    Warns:
        XlaNote: if "auto" would turn XLA on, but XLA cannot compile the network.

    Raises:
        InputError: for True, if XLA cannot compile the network; the message names the layers.
    """
    check_choice("jit_compile", jit_compile, ("auto", True, False))
    wanted = has_accelerator() if jit_compile == "auto" else jit_compile
    found = uncompilable(network, image_shape) if wanted and network is not None else {}
    if not found:
        return wanted
    what = ", ".join(f"{layer} ({operation})" for layer, operation in found.items())
    if jit_compile == "auto":
        warnings.warn(
            f"XLA is off: it cannot compile {what}; without that layer, it would be on", XlaNote, stacklevel=3
        )
        return False
    raise InputError(
        f"`jit_compile` of True: XLA cannot compile {what}. Give `jit_compile=False`, or `jit_compile='auto'`"
    )


def has_accelerator() -> bool:
    """Returns whether TensorFlow sees a GPU or TPU."""
    return bool(tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("TPU"))


def uncompilable(network: keras.Model, image_shape: ImageShape | None = None) -> dict[str, str]:
    """Returns what XLA cannot compile in a network's training pass and gradient, as a dict: layer's name -> operation.

    Args:
        network: built `keras.Model` that takes one batch of images.
        image_shape: (H, W, C) of its images; None for the network's own input shape, which a subclassed one lacks.
    """
    # TensorFlow registers XLA's kernels when it first compiles something.
    tf.function(tf.negative, jit_compile=True)(tf.constant(0.0))
    if not _has_xla_kernel("Const"):  # TensorFlow has no XLA for this device, so nothing can be found out
        return {}
    layers = all_layers(network)
    found = {layer.name: type(layer).__name__ for layer in layers if isinstance(layer, OF_UNKNOWN_SHAPES)}
    names = {layer.name for layer in layers if not isinstance(layer, keras.Model)}
    for operation, scopes in _operations(_training_pass(network, image_shape).as_graph_def()):
        if operation not in ARGUMENTS and not _has_xla_kernel(operation):
            found.setdefault(_layer_of(scopes, names) or network.name, operation)
    return found


def _training_pass(network: keras.Model, image_shape: ImageShape | None) -> tf.Graph:
    """Returns the graph of a forward pass in training mode and its gradients, without running it."""
    strategy = tf.distribute.get_strategy()

    def learn(images: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = tf.nest.flatten(network(images, training=True))
            total = tf.add_n([tf.reduce_sum(tf.cast(output, tf.float32)) for output in outputs])
        return tape.gradient(total, [images, *(weight.value for weight in network.trainable_variables)])

    shape = network.inputs[0].shape[1:] if image_shape is None else image_shape
    images = tf.TensorSpec([2, *shape], tf.float32)
    step = tf.function(lambda images: strategy.run(learn, (images,)), autograph=False)
    return step.get_concrete_function(images).graph


def _operations(graph: Any) -> Iterator[tuple[str, str]]:
    """Yields (type, scoped name) of each operation of a graph; those in functions are named under their callers.

    Args:
        graph: `GraphDef`.
    """
    functions = {function.signature.name: function.node_def for function in graph.library.function}
    waiting, seen = collections.deque((node, "") for node in graph.node), set()
    while waiting:
        node, scope = waiting.popleft()
        path = f"{scope}/{node.name}"
        if node.op in functions:
            called = [node.op]
        else:
            yield node.op, path
            attributes = node.attr.values()
            called = [each.func.name for each in attributes if each.HasField("func")]
            called += [each.name for attribute in attributes for each in attribute.list.func]
        for name in set(called) & functions.keys():
            if (name, path) not in seen:
                seen.add((name, path))
                waiting += [(inner, path) for inner in functions[name]]


def _layer_of(scopes: str, names: Collection[str]) -> str | None:
    """Returns the innermost layer in a path of scopes (Keras appends numbers to repeated ones), or None."""
    for scope in reversed(scopes.split("/")):
        for candidate in (scope, scope.rpartition("_")[0]):
            if candidate in names:
                return candidate
    return None


def _has_xla_kernel(operation: str) -> bool:
    kind = next((kind for kind in ("GPU", "TPU") if tf.config.list_physical_devices(kind)), "CPU")
    return f"XLA_{kind}_JIT" in device_types_of_kernels(operation)
