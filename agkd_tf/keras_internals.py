"""The private parts of Keras and TensorFlow that this library needs. No other file of the library uses private names.

Each entry says which public interface is missing. Its test fails with one line when a release changes what it uses.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras.src.models.functional import Functional
from tensorflow.python.framework import kernels
from tensorflow.python.util import _pywrap_util_port

# Private Keras methods that this library's classes override; Keras must still call them for what their names say.
OVERRIDDEN = {
    "_maybe_symbolic_build": "missing: a way to tell `fit`, `evaluate` and `*_on_batch` that all weights are built",
    "_get_metrics_result_or_logs": "missing: a choice of what `fit` and `evaluate` report under several replicas",
}
# Keyword that `fit` passes when it calls `evaluate`. Missing: a way to tell such a call from a user's.
CALLED_BY_FIT = "_use_cached_eval_dataset"


def all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns each layer of a model once, including those nested in layers and models, but not the model itself.

    Missing: `keras.Model.layers` has neither the layers of nested models nor the sublayers of layers.
    """
    return list(model._flatten_layers(include_self=False))


def functional_of(operation: keras.Operation) -> Functional | None:
    """Returns the functional model that a layer runs, or None for a layer that is not a graph of layers.

    Missing: a public name for the class that `keras.Model(inputs, outputs)` creates, and access to the one inside a
    `Sequential`.
    """
    if isinstance(operation, keras.Sequential):
        return operation._functional if type(operation).call is keras.Sequential.call else None
    is_graph = isinstance(operation, Functional) and type(operation).call is Functional.call
    return operation if is_graph else None


class Call(NamedTuple):
    """One call of one layer or operation in a functional model.

    Attributes:
        operation: the layer or operation.
        inputs: the `keras.KerasTensor`s that it takes.
        arguments: callable: values of the inputs -> (positional, keyword) arguments.
        outputs: the `keras.KerasTensor`s that it makes.
    """

    operation: keras.Operation
    inputs: Sequence[keras.KerasTensor]
    arguments: Callable[[Sequence[Any]], tuple[tuple, dict]]
    outputs: Sequence[keras.KerasTensor]


def calls(functional: Functional) -> Iterator[Call]:
    """Yields the calls of a functional model, in an order in which they can run.

    Missing: any access to the calls and their arguments; `keras.Model.layers` has neither their order nor arguments.
    """
    for depth in sorted(functional._nodes_by_depth, reverse=True):
        for node in functional._nodes_by_depth[depth]:
            if not node.is_input:
                symbols = node.input_tensors
                yield Call(node.operation, symbols, _filler(node.arguments, symbols), node.outputs)


def _filler(arguments: Any, symbols: Sequence[keras.KerasTensor]) -> Callable[[Sequence[Any]], tuple[tuple, dict]]:
    return lambda values: arguments.fill_in({id(symbol): value for symbol, value in zip(symbols, values, strict=True)})


def run_without_input_layer(functional: Functional, images: keras.KerasTensor) -> Any:
    """Runs a functional model with one input on images without casting them, and returns its outputs.

    Missing: a call that skips the input layer's cast to the input's own type, such as uint8.
    """
    return functional._run_through_graph([images])


def share_kernel(layer: keras.layers.Layer, other: keras.layers.Layer) -> None:
    """Makes an unbuilt dense layer or convolution share the kernel variable of another, in place.

    Missing: a public setter of `kernel`.
    """
    layer._kernel = other._kernel


def moving_averages(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Returns the moving averages that an optimizer keeps of the trainable weights, in the weights' order.

    Missing: a way to recognise them among `optimizer.variables`.
    """
    return list(optimizer._model_variables_moving_average)


def slot_of(
    optimizer: keras.optimizers.Optimizer, slots: Sequence[keras.Variable], variable: keras.Variable | tf.Variable
) -> keras.Variable:
    """Returns what an optimizer keeps for a variable, of a list with an entry for each trainable weight.

    Missing: a way from the variable that `update_step` is given to its place, also under several replicas.
    """
    return slots[optimizer._get_variable_index(variable)]


def device_types_of_kernels(operation: str) -> set[str]:
    """Returns the device types for which TensorFlow has a kernel of an operation: "CPU", "XLA_CPU_JIT" and so on.

    XLA's kernels are registered when TensorFlow first compiles something. Missing: a query for what XLA can compile.
    """
    return {kernel.device_type for kernel in kernels.get_registered_kernels_for_op(operation).kernel}


def onednn_is_on() -> bool:
    """Returns whether TensorFlow uses oneDNN, which it decides at import.

    By default it does so only if the processor has instructions for neural networks (AVX512_VNNI and the like).
    Missing: a public query.
    """
    return _pywrap_util_port.IsMklEnabled()
