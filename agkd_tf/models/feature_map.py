"""The map that attention is drawn from: the last one that a convolution made, or a transformer's tokens."""

import dataclasses
import math
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from agkd_tf.errors import InputError
from agkd_tf.models.graph import Graph, Tensor

# Layers that change how many places a map has, or mix what lies in several of them, without weights.
_MIXING = ("pool", "padding", "cropping", "upsampling", "resizing", "reshape", "flatten")
#: ((h, w), whether extra tokens come first).
Grid = tuple[tuple[int, ...], bool]
EXTRA_TOKENS = 5  # of a class, of distillation, registers
SHOWN = 3


@dataclasses.dataclass(frozen=True)
class FeatureMap:
    """A map within a `Graph`, and how it is laid out.

    Attributes:
        tensor: [B, h, w, K], [B, K, h, w], or tokens [B, t, K].
        grid: (h, w); None for a size that is not known.
        channels_first: whether K comes before h and w.
        extra: tokens that are no place: of a class, registers.
        extra_first: whether these come first.
    """

    tensor: Tensor
    grid: tuple[Any, ...]
    channels_first: bool = False
    extra: int = 0
    extra_first: bool = True

    @property
    def num_places(self) -> int | None:
        return None if None in self.grid else math.prod(self.grid)

    def arranged(self, value: tf.Tensor) -> tf.Tensor:
        """Returns the tensor's value as [B, h, w, K]."""
        if self.channels_first:
            return tf.transpose(value, [0, 2, 3, 1])
        if len(value.shape) == 3:
            places = value[:, self.extra :] if self.extra_first else value[:, : value.shape[1] - self.extra]
            return tf.reshape(places, [-1, *self.grid, value.shape[2]])
        return value

    def original(self, value: tf.Tensor) -> tf.Tensor:
        """Returns what `arranged` was given, of what it returned; not where tokens were set aside."""
        if self.channels_first:
            return tf.transpose(value, [0, 3, 1, 2])
        if len(self.tensor.shape) == 3:
            return tf.reshape(value, [-1, math.prod(self.grid), value.shape[3]])
        return value


class FeatureMaps:
    """Finds maps in a `Graph`.

    A map is a tensor of several places that a convolution, or a layer with one inside, made, with normalisation,
    activations and element-wise layers behind it; pooled, padded and rescaled ones are not. Tokens [B, t, K] are the
    places of the map that was reshaped to them, after those that are no place.

    Args:
        graph: `Graph`.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._made: dict[Tensor, bool] = {}
        self._first: dict[Tensor, bool] = {}
        self._grids: dict[Tensor, Grid | None] = {}

    def named(self, name: str) -> FeatureMap:
        """Returns the `FeatureMap` that a layer makes.

        Raises:
            InputError: if it makes none, or one of a single place.
        """
        tensor = self._graph.named(name)
        found = self.of(tensor)
        if found is None and len(tensor.shape) == 3 and tensor.shape[1]:
            extra = next((n for n in range(2) if math.isqrt(tensor.shape[1] - n) ** 2 == tensor.shape[1] - n), None)
            side = math.isqrt(tensor.shape[1])
            found = None if extra is None else FeatureMap(tensor, (side, side), extra=extra)
        if found is None:
            raise InputError(
                f"layer {name!r} makes no feature map [B, h, w, K], and no tokens of a square. It makes: "
                f"{tuple(tensor.shape)}. {self.shown()}"
            )
        if found.num_places == 1:
            raise InputError(
                f"layer {name!r} has a map of one place, which teaches nothing of where to look. {self.shown()}"
            )
        return found

    def last(self, tensor: Tensor) -> tuple[FeatureMap | None, str | None]:
        """Returns (the last `FeatureMap` before a tensor or None, why there is none)."""
        found, seen, waiting = {}, set(), [tensor]
        while waiting:
            each = waiting.pop()
            if each in seen:
                continue
            seen.add(each)
            candidate = self._candidate(each)
            if candidate is not None:
                found[each] = candidate
            elif each.step is not None:
                waiting.extend(each.step.inputs)
        # One that others are made of is not the last.
        last = [
            each
            for each in found
            if not any(other is not each and self._graph.leads_to(each, other) for other in found)
        ]
        if len(last) == 1:
            return found[last[0]], None
        if last:
            names = " and ".join(sorted(self._path(each) for each in last))
            return None, f"the feature map was not found: {names} both lead to the logits"
        return (
            None,
            "the feature map was not found: no convolution makes a map of more than one place before the logits",
        )

    def shown(self) -> str:
        """Returns a sentence that names the last few maps of more than one place."""
        found = [(path, self._candidate(tensor)) for path, tensor in self._graph.layers.items()]
        maps = [f"{path} ({'x'.join(map(str, each.grid))})" for path, each in found if each is not None]
        if not maps:
            return "The classifier has no map of more than one place."
        return f"Larger maps: {', '.join(maps[: -SHOWN - 1 : -1])}"

    def of(self, tensor: Tensor) -> FeatureMap | None:
        """Returns the `FeatureMap` that a tensor is, of any number of places, or None."""
        if len(tensor.shape) == 4:
            if not self._is_made_by_convolution(tensor):
                return None
            first = self.channels_first(tensor)
            return FeatureMap(tensor, tensor.shape[2:4] if first else tensor.shape[1:3], first)
        if len(tensor.shape) == 3 and tensor.shape[1]:
            grid = self._grid(tensor)
            if grid is not None and self._is_made_by_weights(tensor):
                (rows, columns), first = grid
                return FeatureMap(tensor, (rows, columns), False, tensor.shape[1] - rows * columns, first)
        return None

    def channels_first(self, tensor: Tensor) -> bool:
        """Returns whether a tensor [B, K, h, w] has its channels first, as the layers before it say."""
        if tensor.step is None:
            return False
        if tensor not in self._first:
            operation = tensor.step.operation
            told = getattr(operation, "data_format", None)
            before = [each for each in tensor.step.inputs if len(each.shape) == 4]
            if isinstance(operation, layers.Permute):
                first = {(3, 1, 2): True, (2, 3, 1): False}.get(tuple(operation.dims), False)
            elif told is not None:
                first = told == "channels_first"
            else:
                first = bool(before) and self.channels_first(before[0])
            self._first[tensor] = first
        return self._first[tensor]

    def _candidate(self, tensor: Tensor) -> FeatureMap | None:
        found = self.of(tensor)
        return found if found is not None and found.num_places != 1 else None

    def _is_made_by_convolution(self, tensor: Tensor) -> bool:
        if tensor.step is None:
            return False
        if tensor not in self._made:
            operation = tensor.step.operation
            size = _size(tensor, self.channels_first(tensor))
            before = [each for each in tensor.step.inputs if len(each.shape) == 4]
            same = [each for each in before if _size(each, self.channels_first(each)) == size]
            if any(len(weight.shape) >= 4 for weight in getattr(operation, "weights", ())):
                made = True
            elif _mixes(operation):
                # Tokens that are put back into their places are a map.
                made = not before and any(self._grid(each) is not None for each in tensor.step.inputs)
            else:
                made = any(self._is_made_by_convolution(each) for each in same)
            self._made[tensor] = made
        return self._made[tensor]

    def _is_made_by_weights(self, tensor: Tensor) -> bool:
        step = tensor.step
        if step is None:
            return False
        has_weights = any(len(weight.shape) >= 2 for weight in getattr(step.operation, "weights", ()))
        return has_weights or any(map(self._is_made_by_weights, step.inputs))

    def _grid(self, tensor: Tensor) -> Grid | None:
        """Returns ((h, w), whether extra tokens come first) of tokens [B, t, K], or None."""
        if len(tensor.shape) != 3 or tensor.step is None or not tensor.shape[1]:
            return None
        if tensor not in self._grids:
            self._grids[tensor] = None  # of a tensor that is asked for again on its own way
            self._grids[tensor] = self._found_grid(tensor)
        return self._grids[tensor]

    def _found_grid(self, tensor: Tensor) -> Grid | None:
        count, step = tensor.shape[1], tensor.maker
        for position, each in enumerate(step.inputs):
            if len(each.shape) == 4:
                size = _size(each, self.channels_first(each))
                if None in size:
                    continue
                if math.prod(size) == count:
                    return size, True
                side = math.isqrt(count)
                # A layer that cuts images into patches by itself; a reshaped image keeps its places.
                if (
                    side**2 == count
                    and not (size[0] % side or size[1] % side)
                    and "reshape" not in _name(step.operation)
                ):
                    return (side, side), True
            elif len(each.shape) == 3 and each.shape[1] and "pool" not in _name(step.operation):
                before = self._grid(each)
                if before is None or not 0 <= count - math.prod(before[0]) <= EXTRA_TOKENS:
                    continue
                added = count > each.shape[1] and count - each.shape[1] <= EXTRA_TOKENS
                if count == each.shape[1]:
                    return before
                if added:
                    return before[0], not (len(step.inputs) > 1 and position == 0)
                if count == math.prod(before[0]):  # the extra ones were cut off
                    return before[0], True
        return None

    def _path(self, tensor: Tensor) -> str:
        return next((path for path, each in self._graph.layers.items() if each is tensor), tensor.maker.path)


def _name(operation: keras.Operation) -> str:
    return type(operation).__name__.lower()


def _mixes(operation: keras.Operation) -> bool:
    return any(word in _name(operation) for word in _MIXING)


def _size(tensor: Tensor, channels_first: bool) -> tuple[Any, ...]:
    return tuple(tensor.shape[2:4] if channels_first else tensor.shape[1:3])
