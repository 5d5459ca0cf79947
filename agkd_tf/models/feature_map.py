"""Finds the feature map for attention: the last one made by a convolution, or a transformer's tokens."""

import dataclasses
import math
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from agkd_tf.errors import InputError
from agkd_tf.models.graph import Graph, Tensor

# Layers without weights that change the number of a map's positions, or mix values of several positions.
_MIXING = ("pool", "padding", "cropping", "upsampling", "resizing", "reshape", "flatten")
#: ((h, w), whether extra tokens come first).
Grid = tuple[tuple[int, ...], bool]
EXTRA_TOKENS = 5  # at most: class token, distillation token, registers
SHOWN = 3


@dataclasses.dataclass(frozen=True)
class FeatureMap:
    """A feature map within a `Graph`, and its layout.

    Attributes:
        tensor: [B, h, w, K], [B, K, h, w], or tokens [B, t, K].
        grid: (h, w); None for a size that is not known.
        channels_first: whether K comes before h and w.
        extra: number of tokens without a position, such as a class token or registers.
        extra_first: whether these tokens come first.
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
        """Rearranges the tensor's value to [B, h, w, K], without extra tokens."""
        if self.channels_first:
            return tf.transpose(value, [0, 2, 3, 1])
        if len(value.shape) == 3:
            places = value[:, self.extra :] if self.extra_first else value[:, : value.shape[1] - self.extra]
            return tf.reshape(places, [-1, *self.grid, value.shape[2]])
        return value

    def original(self, value: tf.Tensor) -> tf.Tensor:
        """Undoes `arranged`: [B, h, w, K] -> the tensor's own layout; only valid without extra tokens."""
        if self.channels_first:
            return tf.transpose(value, [0, 3, 1, 2])
        if len(self.tensor.shape) == 3:
            return tf.reshape(value, [-1, math.prod(self.grid), value.shape[3]])
        return value


class FeatureMaps:
    """Finds feature maps in a `Graph`.

    A feature map is a tensor with several positions made by a convolution (or by a layer that contains one), followed
    by any normalisation, activations and element-wise layers. Pooled, padded or resized tensors do not count. Tokens
    [B, t, K] count as the positions of the map that was reshaped to them, apart from extra tokens.

    Args:
        graph: `Graph`.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._made: dict[Tensor, bool] = {}
        self._first: dict[Tensor, bool] = {}
        self._grids: dict[Tensor, Grid | None] = {}

    def named(self, name: str) -> FeatureMap:
        """Returns the `FeatureMap` that the layer called `name` makes.

        Raises:
            InputError: if it makes none, or one with a single position.
        """
        tensor = self._graph.named(name)
        found = self.of(tensor)
        if found is None and len(tensor.shape) == 3 and tensor.shape[1]:
            extra = next((n for n in range(2) if math.isqrt(tensor.shape[1] - n) ** 2 == tensor.shape[1] - n), None)
            side = math.isqrt(tensor.shape[1])
            found = None if extra is None else FeatureMap(tensor, (side, side), extra=extra)
        if found is None:
            raise InputError(
                f"layer {name!r} makes neither a feature map [B, h, w, K] nor tokens of a square grid. Its output is: "
                f"{tuple(tensor.shape)}. {self.shown()}"
            )
        if found.num_places == 1:
            raise InputError(
                f"layer {name!r} has a map with one position, which cannot show where a network looks. {self.shown()}"
            )
        return found

    def last(self, tensor: Tensor) -> tuple[FeatureMap | None, str | None]:
        """Returns (the last `FeatureMap` before a tensor or None, the reason if there is none)."""
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
        # A map that leads to another map is not the last.
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
            "the feature map was not found: no convolution makes a map with more than one position before the logits",
        )

    def shown(self) -> str:
        """Returns a sentence that lists the last few maps with more than one position."""
        found = [(path, self._candidate(tensor)) for path, tensor in self._graph.layers.items()]
        maps = [f"{path} ({'x'.join(map(str, each.grid))})" for path, each in found if each is not None]
        if not maps:
            return "The classifier has no map with more than one position."
        return f"Larger maps: {', '.join(maps[: -SHOWN - 1 : -1])}"

    def of(self, tensor: Tensor) -> FeatureMap | None:
        """Returns a tensor as a `FeatureMap`, with any number of positions, or None if it is not one."""
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
        """Returns whether a tensor of rank 4 is [B, K, h, w], judged by the layers before it."""
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
                # Tokens that are reshaped back to their grid are a map.
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
            self._grids[tensor] = None  # the answer if the search comes back to this tensor
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
                # This layer cuts images into patches itself; a mere reshape would keep the number of positions.
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
