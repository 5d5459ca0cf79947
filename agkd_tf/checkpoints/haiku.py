"""Haiku's parameters and state under the names, and in the layout, of PyTorch's state dicts."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

# Haiku's modules -> those of DeepMind's PyTorch code for the same networks.
_BLOCK = re.compile(r"resnet_lay_(\d+)_block_(\d+)")
_WEIGHTS = {"w": "weight", "b": "bias", "scale": "weight", "offset": "bias"}
_MOMENTS = {"mean_ema": "running_mean", "var_ema": "running_var"}


def is_haiku(tree: Mapping[str, Any]) -> bool:
    """Returns whether a tree holds Haiku's parameters and state."""
    return set(tree) == {"params", "state"} and all(isinstance(part, Mapping) for part in tree.values())


def state_dict_of_haiku(tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns the weights of DeepMind's Haiku networks as a state dict of their PyTorch code.

    Convolutions [h, w, in, out] become [out, in, h, w], and dense kernels [in, out] become [out, in]; BN's statistics
    are the averages that Haiku keeps.

    Args:
        tree: {"params": {module: {name: array}}, "state": {module: {name: array}}}.
    """
    found = {}
    for module, weights in tree["params"].items():
        for name, array in weights.items():
            found[f"{_torch_name(module)}.{_WEIGHTS.get(name, name)}"] = _torch_layout(array)
    for module, state in tree["state"].items():
        owner, _, moment = module.rpartition("/")
        if moment in _MOMENTS and "average" in state:
            found[f"{_torch_name(owner)}.{_MOMENTS[moment]}"] = _torch_layout(state["average"])
        else:
            found |= {f"{_torch_name(module)}.{name}": array for name, array in state.items()}
    return found


def _torch_name(module: str) -> str:
    parts = [part for part in module.split("/")[1:] if part != "~"]  # without the network's own name
    return ".".join(_BLOCK.sub(r"layer.\1.block.\2", part) for part in parts)


def _torch_layout(array: np.ndarray) -> np.ndarray:
    if array.ndim == 4 and array.shape[:3] == (1, 1, 1):  # BN's, except 1x1 convolutions of one channel
        return array.reshape(-1)
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    return array.T if array.ndim == 2 else array
