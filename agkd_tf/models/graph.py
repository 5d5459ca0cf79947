"""A Keras model as a flat graph: nested models are expanded, to any depth."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from agkd_tf.errors import InputError
from agkd_tf.keras_internals import calls, functional_of
from agkd_tf.models.fused_batch_normalization import fused

#: Values of a step's inputs -> (positional, keyword) arguments of its operation.
Arguments = Callable[[Sequence[Any]], tuple[Sequence[Any], dict[str, Any]]]
SHOWN = 20  # names that a message lists


@dataclasses.dataclass(eq=False, frozen=True)
class Tensor:
    """A value that flows through a `Graph`.

    Attributes:
        shape: tuple, with None for the batch size and for unknown sizes.
        step: the `Step` that makes it; None for the images.
    """

    shape: tuple[Any, ...]
    step: "Step | None" = None

    @property
    def maker(self) -> "Step":
        """The step that makes it; raises a ValueError for the images, which no step makes."""
        if self.step is None:
            raise ValueError("no step makes the images")
        return self.step


@dataclasses.dataclass(eq=False, frozen=True)
class Step:
    """One call of one layer.

    Attributes:
        path: the layer's name, prefixed by the names of the models that contain it: `backbone/conv1`.
        operation: the Keras layer or operation.
        inputs: the tensors that it takes.
        arguments: callable: values of these tensors -> (positional, keyword) arguments.
        outputs: the tensors that it makes.
    """

    path: str
    operation: keras.Operation
    inputs: Sequence[Tensor]
    arguments: Arguments
    outputs: list[Tensor]

    def run(self, values: Sequence[tf.Tensor], training: bool | None) -> list[tf.Tensor]:
        """Computes the outputs' values from the inputs' values; None for `training` leaves the mode to the layers."""
        args, kwargs = self.arguments(values)
        normalize = None if training is None else fused(self.operation, training)
        if normalize is not None:
            return [normalize(args[0])]
        if training is not None and isinstance(self.operation, keras.layers.Layer):
            kwargs = kwargs | {"training": training}
        return keras.tree.flatten(self.operation(*args, **kwargs))


class Graph:
    """The steps between a model's images and its outputs, in an order in which they can run.

    The layers are the model's own. A model that is not a graph, such as a subclassed one, is one step.

    Args:
        model: a built `keras.Model` that takes one batch of images [B, H, W, C].

    Attributes:
        images: the `Tensor` of the model's input.
        steps: list of `Step`.
        layers: path -> the `Tensor` that the layer makes in its last call; expanded models have an entry too.
        outputs: list of `Tensor`.

    Raises:
        InputError: if the model is not built, or takes anything else.
    """

    def __init__(self, model: keras.Model) -> None:
        if not isinstance(model, keras.Model):
            raise InputError(f"the classifier must be a keras.Model. Received: {model!r}")
        self.model = model
        self.images = Tensor(_image_shape(model))
        self.steps: list[Step] = []
        self.layers: dict[str, Tensor] = {}
        self._programs: dict[tuple[tuple[int, ...], tuple[int, ...]], list[Step] | None] = {}
        functional = functional_of(model)
        if functional is not None:
            self.outputs = self._open(functional, [self.images], "")
        else:
            shapes = keras.tree.flatten(model.compute_output_spec(keras.KerasTensor(self.images.shape)))
            self.outputs = self._add(model.name, model, [self.images], lambda values: (values, {}), shapes)

    def named(self, name: str) -> Tensor:
        """Returns the `Tensor` that a layer makes.

        Args:
            name: a path such as `backbone/conv1`, or its last part alone if only one layer has that name.

        Raises:
            InputError: if there is no such layer.
        """
        found = [name] if name in self.layers else [path for path in self.layers if path.rpartition("/")[2] == name]
        if len(found) > 1:
            raise InputError(f"the classifier has several layers called {name!r}: {', '.join(found)}")
        if not found:
            names, more = list(self.layers), ""
            if len(names) > SHOWN:
                names = difflib.get_close_matches(name, names, 5, 0.5) or names[-SHOWN:]
                more = f", and {len(self.layers) - len(names)} others"
            raise InputError(f"the classifier has no layer {name!r}. It has: {', '.join(names)}{more}")
        return self.layers[found[0]]

    def apply(self, layer: keras.layers.Layer, *tensors: Tensor) -> Tensor:
        """Adds a step that the model does not have, and returns the `Tensor` that it makes.

        Args:
            layer: a Keras layer; it is called with a list if there are several tensors.
            *tensors: inputs of the layer, from this graph.
        """
        symbols = [keras.KerasTensor(tensor.shape) for tensor in tensors]
        made = keras.tree.flatten(layer.compute_output_spec(symbols if len(symbols) > 1 else symbols[0]))

        def arguments(values: Sequence[tf.Tensor]) -> tuple[list[Any], dict[str, Any]]:
            return ([list(values)] if len(values) > 1 else list(values)), {}

        return self._add(layer.name, layer, list(tensors), arguments, made)[0]

    def run(self, wanted: Sequence[Tensor], given: Mapping[Tensor, Any], *, training: bool | None) -> list[tf.Tensor]:
        """Computes the values of tensors.

        Args:
            wanted: list of `Tensor`.
            given: `Tensor` -> value, for all inputs that are needed: the images, or tensors computed from them.
            training: whether the layers run in training mode; None leaves it to them, as a new functional model does.

        Raises:
            ValueError: if other values are needed; see `depends_on_others`.
        """
        program = self._program(wanted, given)
        if program is None:
            raise ValueError("the given values are not enough to compute the wanted tensors")
        values = dict(given)
        for step in program:
            made = step.run([values[tensor] for tensor in step.inputs], training)
            values.update(zip(step.outputs, made, strict=True))
        return [values[tensor] for tensor in wanted]

    def depends_on_others(self, wanted: Sequence[Tensor], given: Mapping[Tensor, Any]) -> bool:
        """Returns whether tensors depend on the images other than through the `given` tensors."""
        return self._program(wanted, given) is None

    def leads_to(self, earlier: Tensor, later: Tensor) -> bool:
        """Returns whether `later` is computed from `earlier`, or is the same tensor."""
        waiting, seen = [later], set()
        while waiting:
            tensor = waiting.pop()
            if tensor is earlier:
                return True
            if tensor not in seen and tensor.step is not None:
                seen.add(tensor)
                waiting.extend(tensor.step.inputs)
        return False

    def _program(self, wanted: Sequence[Tensor], given: Mapping[Tensor, Any]) -> list[Step] | None:
        """Returns the steps that must run, in order; None if the images are needed but not given."""
        key = (tuple(map(id, wanted)), tuple(map(id, given)))
        if key not in self._programs:
            needed, seen, waiting = set(), set(given), list(wanted)
            while waiting:
                tensor = waiting.pop()
                if tensor in seen:
                    continue
                seen.add(tensor)
                if tensor.step is None:
                    self._programs[key] = None
                    return None
                if tensor.step not in needed:
                    needed.add(tensor.step)
                    waiting.extend(tensor.step.inputs)
            self._programs[key] = [step for step in self.steps if step in needed]
        return self._programs[key]

    def _open(self, functional: keras.Model, inputs: Sequence[Tensor], prefix: str) -> list[Tensor]:
        tensors = {id(symbol): tensor for symbol, tensor in zip(functional.inputs, inputs, strict=True)}
        for call in calls(functional):
            if any(id(symbol) not in tensors for symbol in call.inputs):
                continue
            path, taken = prefix + call.operation.name, [tensors[id(symbol)] for symbol in call.inputs]
            inner = functional_of(call.operation)
            if inner is not None and _fits(inner, taken):
                made = self._open(inner, taken, f"{path}/")
            else:
                made = self._add(path, call.operation, taken, call.arguments, call.outputs)
            self.layers[path] = made[0]
            tensors.update({id(symbol): tensor for symbol, tensor in zip(call.outputs, made, strict=True)})
        return [tensors[id(symbol)] for symbol in functional.outputs]

    def _add(
        self,
        path: str,
        operation: keras.Operation,
        inputs: Sequence[Tensor],
        arguments: Arguments,
        symbols: Sequence[keras.KerasTensor],
    ) -> list[Tensor]:
        step = Step(path, operation, inputs, arguments, [])
        step.outputs.extend(Tensor(tuple(symbol.shape), step) for symbol in symbols)
        self.steps.append(step)
        return step.outputs


def _image_shape(model: keras.Model) -> tuple[int | None, ...]:
    inputs = getattr(model, "inputs", None)
    if not inputs:
        # A subclassed model knows its input shape only after its first call.
        shape = (model.get_build_config() or {}).get("input_shape") if model.built else None
        if shape is None:
            raise InputError(
                f"the classifier {model.name!r} has not been called yet, so its input shape is unknown: call it once, "
                "as model(x[:1])"
            )
        inputs = [keras.KerasTensor((None, *shape[1:]))] if len(shape) and not isinstance(shape[0], tuple) else shape
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        shapes = ", ".join(str(tuple(getattr(each, "shape", each))) for each in inputs)
        raise InputError(f"the classifier must take one image batch [B, H, W, C]. It takes: {shapes}")
    return (None, *inputs[0].shape[1:])


def _fits(functional: keras.Model, tensors: Sequence[Tensor]) -> bool:
    """Returns whether a model takes exactly these tensors: Keras would expand others, or choose inputs by name."""
    own = [tuple(symbol.shape) for symbol in functional.inputs]
    return len(own) == len(tensors) == 1 and len(own[0]) == len(tensors[0].shape)
