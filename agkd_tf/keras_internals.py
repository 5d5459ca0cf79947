"""What Keras and TensorFlow keep private and this library cannot do without. No other file of it touches such names.

Each entry says which public way is missing; its test fails in one line when a release changes what it uses.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
from keras.src.models.functional import Functional
from tensorflow.python.framework import kernels
from tensorflow.python.util import _pywrap_util_port

# Private methods of Keras that classes of this library replace: what their names say, Keras must still call them for.
OVERRIDDEN = {
    "_maybe_symbolic_build": "missing: a way to tell `fit`, `evaluate` and `*_on_batch` that all weights are built",
    "_get_metrics_result_or_logs": "missing: a choice of what `fit` and `evaluate` report under several replicas",
}
# The keyword of the calls of `evaluate` that `fit` makes. Missing: a way to tell them from a user's.
CALLED_BY_FIT = "_use_cached_eval_dataset"


def all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns each layer of a model once, those within other layers and models too; not the model itself.

    Missing: `keras.Model.layers` has neither the layers of models within the model nor a layer's own.
    """
    return list(model._flatten_layers(include_self=False))


def functional_of(operation: keras.Operation) -> Functional | None:
    """Returns the functional model that a layer runs, or None for one that is no graph of layers.

    Missing: a public name of the class that `keras.Model(inputs, outputs)` makes, and of the one in a `Sequential`.
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
        arguments: callable, the values of the inputs -> (positional, keyword) arguments.
        outputs: the `keras.KerasTensor`s that it makes.
    """

    operation: keras.Operation
    inputs: Sequence[keras.KerasTensor]
    arguments: Callable[[Sequence[Any]], tuple[tuple, dict]]
    outputs: Sequence[keras.KerasTensor]


def calls(functional: Functional) -> Iterator[Call]:
    """Yields the calls of a functional model, in an order in which they can run.

    Missing: any way to the calls and their arguments; `keras.Model.layers` knows neither order nor arguments.
    """
    for depth in sorted(functional._nodes_by_depth, reverse=True):
        for node in functional._nodes_by_depth[depth]:
            if not node.is_input:
                symbols = node.input_tensors
                yield Call(node.operation, symbols, _filler(node.arguments, symbols), node.outputs)


def _filler(arguments: Any, symbols: Sequence[keras.KerasTensor]) -> Callable[[Sequence[Any]], tuple[tuple, dict]]:
    return lambda values: arguments.fill_in({id(symbol): value for symbol, value in zip(symbols, values, strict=True)})


def run_without_input_layer(functional: Functional, images: keras.KerasTensor) -> Any:
    """Returns what a functional model of one input makes of images, as they are.

    Missing: a call that leaves out the input layer's cast to the type that it was made with, such as uint8.
    """
    return functional._run_through_graph([images])


def share_kernel(layer: keras.layers.Layer, other: keras.layers.Layer) -> None:
    """Gives an unbuilt dense layer or convolution the very kernel of another, in place.

    Missing: `kernel` cannot be set.
    """
    layer._kernel = other._kernel


def moving_averages(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Returns the moving averages of the trainable weights that an optimizer keeps, in the weights' order.

    Missing: they are among `optimizer.variables`, of which nothing says which are which.
    """
    return list(optimizer._model_variables_moving_average)


def device_types_of_kernels(operation: str) -> set[str]:
    """Returns the types of devices that TensorFlow has a kernel of an operation for: "CPU", "XLA_CPU_JIT" and so on.

    Those of XLA are registered when TensorFlow first compiles something. Missing: any way to ask what XLA can compile.
    """
    return {kernel.device_type for kernel in kernels.get_registered_kernels_for_op(operation).kernel}


def onednn_is_on() -> bool:
    """Returns whether TensorFlow computes with oneDNN, which it decides when it is imported.

    By itself it does so only where the processor has instructions for neural networks (AVX512_VNNI and the like).
    Missing: any way to ask.
    """
    return _pywrap_util_port.IsMklEnabled()
