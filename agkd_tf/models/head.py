"""Finds the head of a classifier: its logits, and the embedding from which they are computed."""

import dataclasses
from typing import NoReturn

import keras
from keras import layers

from agkd_tf.errors import InputError
from agkd_tf.models.activation import activation_name, linear_twin, own_activation_name
from agkd_tf.models.graph import Graph, Step, Tensor

# Layers behind the scores that change neither which class ranks first nor what the scores are computed from.
_TRANSPARENT = (layers.Dropout, layers.Identity, layers.Rescaling)
_RESHAPING = (layers.Flatten, layers.Reshape)


def name_it(part: str) -> str:
    """Returns the remedy for a part of a network, such as `logits`, that is not found: a defense's argument."""
    return f"Name its layer: `layer_names={{{part!r}: PATH}}`"


@dataclasses.dataclass(frozen=True)
class Head:
    """What was found at the end of a `Graph`.

    Attributes:
        logits: [B, n] before any softmax; for a single score z, the logits 0 and z of two classes.
        embedding: [B, K], or None.
        source: input of the layer that makes the scores, where the search for the feature map begins; or None.
        scores: the dense layer or 1x1 convolution that makes the scores; or None.
    """

    logits: Tensor
    embedding: Tensor | None
    source: Tensor | None
    scores: keras.layers.Layer | None


def find_head(graph: Graph, *, logits: str | None = None) -> Head:
    """Returns the `Head` of a graph.

    The search passes a softmax at the end, whether it is a `Softmax` or `Activation` layer, an operation of
    `keras.ops`, or the last layer's own activation: the scores before it are the logits. A single score, with or
    without a sigmoid, becomes two classes. A 1x1 convolution with mean pooling before or after it counts as a dense
    layer on the pooled map.

    Args:
        graph: `Graph`; steps may be added to it.
        logits: name of the layer that makes the logits; None for the end of the model.

    Raises:
        InputError: if there are no logits: several outputs, other shapes, or an activation that no softmax follows.
    """
    if logits is None and len(graph.outputs) != 1:
        ends = ", ".join(name for name, tensor in graph.layers.items() if tensor in graph.outputs)
        raise InputError(f"the classifier has {len(graph.outputs)} outputs ({ends}): {name_it('logits')}")
    tensor = graph.outputs[0] if logits is None else graph.named(logits)
    _check_scores(graph, tensor)
    classes = tensor.shape[-1]
    scores = _before_activations(graph, tensor, classes)
    step, pooled = _maker(scores)
    layer = embedding = source = None
    if step is not None:
        layer = step.operation
        scores = _without_own_activation(graph, scores, step, pooled, classes)
        source = step.inputs[0]
        if len(source.shape) == 2:
            embedding = source
        elif pooled:  # pooling commutes with a 1x1 convolution, and with a dense layer applied per position
            first = getattr(layer, "data_format", "channels_last")
            embedding = graph.apply(layers.GlobalAveragePooling2D(data_format=first), source)
        elif len(source.shape) == 4 and _places(source, layer) == 1:
            embedding = graph.apply(layers.Flatten(), source)
        else:
            source = None
    if len(scores.shape) > 2:
        scores = graph.apply(layers.Flatten(), scores)
    if classes == 1:
        zero = graph.apply(layers.Rescaling(0.0, dtype="float32"), scores)
        scores = graph.apply(layers.Concatenate(dtype="float32"), zero, scores)
    return Head(scores, embedding, source, layer)


def _check_scores(graph: Graph, tensor: Tensor) -> None:
    if len(tensor.shape) == 2 and tensor.shape[1]:
        return
    if len(tensor.shape) == 4 and tensor.shape[1:3] == (1, 1) and tensor.shape[3]:
        return
    raise InputError(
        f"the classifier {graph.model.name!r} must return one score per class, [B, n]. It returns {_written(tensor)}: "
        f"{name_it('logits')}"
    )


def scores_without_activation(graph: Graph) -> tuple[Tensor, keras.layers.Layer | None]:
    """Returns (the `Tensor` of scores before any activation, the layer whose built-in one is removed or None).

    Raises:
        InputError: if the graph has several outputs, or no scores [B, n].
    """
    if len(graph.outputs) != 1:
        raise InputError(f"the classifier must have one output, its scores. It has {len(graph.outputs)} outputs")
    (end,) = graph.outputs
    _check_scores(graph, end)
    found = _before_activations(graph, end, end.shape[-1], every=True)
    step, pooled = _maker(found)
    removed = None
    if step is not None and not pooled and own_activation_name(step.operation) != "linear":
        removed = step.operation
        found = graph.apply(linear_twin(step.operation), step.inputs[0])
    if len(found.shape) > 2:
        found = graph.apply(layers.Flatten(), found)
    return found, removed


def scores_maker(graph: Graph, tensor: Tensor) -> keras.layers.Layer | None:
    """Returns the dense layer or 1x1 convolution that makes the scores before any activation, or None.

    It is None if anything else makes the scores, for example if they are a mean of probabilities.
    """
    step, pooled = _maker(_before_activations(graph, tensor, tensor.shape[-1], every=True))
    if step is None or (pooled and own_activation_name(step.operation) == "softmax"):
        return None
    return step.operation


def _before_activations(graph: Graph, tensor: Tensor, classes: int, *, every: bool = False) -> Tensor:
    """Returns the tensor before a softmax at the end, skipping layers that only change its shape.

    With `every`, any activation is skipped; otherwise activations other than softmax are refused.
    """
    found = tensor
    while (step := tensor.step) is not None:
        name, operation = activation_name(step.operation), step.operation
        if name == "softmax" or (name == "sigmoid" and classes == 1) or (every and name not in (None, "linear")):
            found = step.inputs[0]
        elif name is not None and name not in ("linear", "log_softmax"):
            _refuse(step.path, name, classes)
        elif name is None and not isinstance(operation, (*_RESHAPING, layers.Dropout, layers.Identity)):
            break
        tensor = step.inputs[0]
    return found


def _maker(tensor: Tensor) -> tuple[Step | None, bool]:
    """Returns (the step that makes the scores, whether its map is then pooled), or (None, False)."""
    pooled = False
    while (step := tensor.step) is not None:
        operation = step.operation
        if _is_dense(operation) or _is_pointwise(operation):
            return step, pooled
        if _is_two_classes(step):
            tensor = step.inputs[1]
            continue
        if _is_pooling(operation):
            pooled = True
        elif not (
            isinstance(operation, (*_TRANSPARENT, *_RESHAPING))
            or activation_name(operation) in ("linear", "log_softmax")
            or (pooled and activation_name(operation) is not None)
        ):
            break
        tensor = step.inputs[0]
    return None, False


def _without_own_activation(graph: Graph, scores: Tensor, step: Step, pooled: bool, classes: int) -> Tensor:
    layer, name = step.operation, own_activation_name(step.operation)
    if name in ("linear", "log_softmax") or (pooled and name != "softmax"):
        return scores
    if pooled:
        raise InputError(
            f"layer {step.path!r} ends in a softmax at each position, and the results are averaged: these are not "
            'logits; use agkd_tf.adapt(model, output="probabilities")'
        )
    if name != "softmax" and not (name == "sigmoid" and classes == 1):
        _refuse(step.path, name, classes)
    tensor, behind = scores, []
    while tensor is not step.outputs[0]:
        behind.append(tensor.maker)
        tensor = tensor.maker.inputs[0]
    if any(not isinstance(each.operation, (*_RESHAPING, layers.Dropout, layers.Identity)) for each in behind):
        raise InputError(
            f"layer {behind[0].path!r} changes the probabilities of layer {step.path!r}: these are not logits; end the "
            f"model in {step.path!r}, or name it: `layer_names={{'logits': {step.path!r}}}`"
        )
    return graph.apply(linear_twin(layer), step.inputs[0])


def _refuse(path: str, name: str, classes: int) -> NoReturn:
    raise InputError(
        f"layer {path!r} ends in {name}: {classes} score{'s' if classes > 1 else ''} that no softmax follows, not "
        "logits. Use a copy without it, to be trained with softmax: agkd_tf.models.remove_softmax(model)"
    )


def _is_dense(layer: keras.Operation) -> bool:
    return isinstance(layer, layers.Dense)


def _is_pointwise(layer: keras.Operation) -> bool:
    is_plain = isinstance(layer, layers.Conv2D) and layer.groups == 1
    return is_plain and set(layer.kernel_size) == {1} and set(layer.strides) == {1}


def _is_two_classes(step: Step) -> bool:
    """Returns whether a step turns one score z into two classes' logits, 0 and z, as `find_head` does."""
    if not isinstance(step.operation, layers.Concatenate) or len(step.inputs) != 2:
        return False
    zero, score = step.inputs
    made = zero.step
    if made is None or not isinstance(made.operation, layers.Rescaling):
        return False
    return made.operation.scale == 0 and made.inputs[0] is score


def _is_pooling(operation: keras.Operation) -> bool:
    return isinstance(operation, layers.GlobalAveragePooling2D)


def _places(tensor: Tensor, layer: keras.layers.Layer | None) -> int | None:
    first = getattr(layer, "data_format", None) == "channels_first"
    rows, columns = tensor.shape[2:4] if first else tensor.shape[1:3]
    return rows and columns and rows * columns


def _written(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
