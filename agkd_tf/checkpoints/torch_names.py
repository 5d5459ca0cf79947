"""The names and layouts that PyTorch gives to a network's weights, in both directions."""

from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np

from agkd_tf.checkpoints.families import Family
from agkd_tf.checkpoints.weighted_layers import weighted_layers
from agkd_tf.errors import InputError

SHOWN = 4  # names in a message

_BN = (("weight", "gamma"), ("bias", "beta"), ("running_mean", "moving_mean"), ("running_var", "moving_variance"))


def variables_by_name(family: Family, model: keras.Model, sizes: Mapping[str, int]) -> dict[str, keras.Variable]:
    """Returns name in PyTorch -> variable, for all weights of a network.

    Args:
        family: the network's.
        model: as the family builds it.
        sizes: the builder's.

    Raises:
        InputError: if the network has other layers.
    """
    layers = weighted_layers(model)
    convolutions, normalizations, dense = family.layer_names(sizes)
    if (len(convolutions), len(normalizations)) != (len(layers.convolutions), len(layers.normalizations)):
        raise InputError(
            f"the network has {len(layers.convolutions)} convolutions and {len(layers.normalizations)} BN layers; "
            f"{family.name} would have {len(convolutions)} and {len(normalizations)}"
        )
    found = {f"{name}.weight": layer.kernel for name, layer in zip(convolutions, layers.convolutions, strict=True)}
    for name, layer in zip(normalizations, layers.normalizations, strict=True):
        found |= {f"{name}.{torch}": getattr(layer, own) for torch, own in _BN}
    return found | {f"{dense}.weight": layers.dense.kernel, f"{dense}.bias": layers.dense.bias}


def to_torch(weights: np.ndarray) -> np.ndarray:
    """Returns weights as PyTorch lays them out: [h, w, in, out] as [out, in, h, w], [in, out] as [out, in]."""
    return np.ascontiguousarray(weights.transpose(_axes(weights.ndim, (3, 2, 0, 1))))


def from_torch(weights: np.ndarray) -> np.ndarray:
    """Returns weights as Keras lays them out; the inverse of `to_torch`."""
    return weights.transpose(_axes(weights.ndim, (2, 3, 1, 0)))


def _axes(dimensions: int, of_kernel: tuple[int, ...]) -> tuple[int, ...]:
    return {4: of_kernel, 2: (1, 0)}.get(dimensions, tuple(range(dimensions)))


def torch_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Returns the shape that PyTorch has for Keras' weights of a shape."""
    axes = _axes(len(shape), (3, 2, 0, 1))
    return tuple(shape[axis] for axis in axes)


def assign(variables: Mapping[str, keras.Variable], weights: Mapping[str, np.ndarray], title: str) -> None:
    """Sets variables to a checkpoint's weights, which must fit exactly.

    Args:
        variables: as from `variables_by_name`.
        weights: name -> array in PyTorch's layout.
        title: what messages call the network.

    Raises:
        InputError: for weights that are missing, left over, of another shape, not floats or not finite; or negative
            variances.
    """
    wrong = list(_misfits(variables, weights))
    if wrong:
        raise InputError(f"`checkpoint` does not fit {title}: {'; '.join(wrong)}")
    for name, variable in variables.items():
        variable.assign(from_torch(weights[name]))


def _misfits(variables: Mapping[str, keras.Variable], weights: Mapping[str, np.ndarray]) -> Iterator[str]:
    """Yields a text for each way in which weights do not fit."""
    missing = [name for name in variables if name not in weights]
    left_over = [name for name in weights if name not in variables]
    both = [(name, torch_shape(variables[name].shape), weights[name]) for name in variables if name in weights]
    reshaped = [
        f"{name} {tuple(array.shape)} instead of {shape}" for name, shape, array in both if array.shape != shape
    ]
    not_floats = [name for name, _, array in both if array.dtype != np.float32]
    damaged = [
        name
        for name, _, array in both
        if array.dtype == np.float32
        and not (np.isfinite(array).all() and not (name.endswith("running_var") and (array < 0).any()))
    ]
    for what, names in (
        ("missing", missing),
        ("left over", left_over),
        ("of another shape", reshaped),
        ("not floats", not_floats),
        ("NaN, infinite, or a negative variance", damaged),
    ):
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            yield f"{what}: {', '.join(names[:SHOWN])}{more}"
