"""Finds the network's weights in a checkpoint: among wrappers, below prefixes, without what no network needs."""

import re
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from agkd_tf.checkpoints.haiku import is_haiku, state_dict_of_haiku
from agkd_tf.errors import InputError, Note

# Keys below which state dicts are saved, the first ones first: averaged weights before others.
WRAPPERS = ("ema", "model_state_dict", "state_dict", "net", "last", "unaveraged_model_state_dict")
PREFIXES = ("module", "basic_net", "model", "_orig_mod", "0", "1")
SHOWN = 5  # names in a message
# Pixels' mean and standard deviation, as networks keep them: their own, or those of a layer before the network.
_MEAN, _STD = re.compile(r"(.*\.)?(mu|mean)"), re.compile(r"(.*\.)?(sigma|std)")


class StateDict(NamedTuple):
    """The weights of one network.

    Attributes:
        weights: name -> array, without prefixes.
        mean, std: float32 [C], what the file says about pixels; None if it does not.
        prefixes: the prefixes that were taken off, outermost first.
        dropped: what was left out, and why: one text for each kind.
    """

    weights: Mapping[str, np.ndarray]
    mean: np.ndarray | None
    std: np.ndarray | None
    prefixes: tuple[str, ...]
    dropped: tuple[str, ...]


def find_state_dict(tree: Mapping[str, Any], *, weights: str | None = None) -> StateDict:
    """Returns the `StateDict` in a checkpoint.

    Args:
        tree: as from `read_checkpoint`.
        weights: which one, if there are several: the name of the entry that holds it, such as `ema`.

    Warns:
        Note: if there are several and none was chosen; averaged weights are then preferred.

    Raises:
        InputError: if there is none, or not the chosen one.
    """
    found = {"": state_dict_of_haiku(tree)} if is_haiku(tree) else dict(_candidates(tree))
    if weights is not None:
        chosen = {path: each for path, each in found.items() if weights in (path, path.rpartition(".")[2])}
        if not chosen:
            raise InputError(f"`weights` must be one of {_listed(found) or 'no names'}. Received: {weights!r}")
        found = chosen
    if not found:
        raise InputError(
            f"`checkpoint` holds no state dict, at its top or below one of {', '.join(WRAPPERS)}. It has: "
            f"{_listed(tree) or 'nothing'}"
        )
    path, state = next(iter(found.items()))
    if len(found) > 1:
        rest = ", ".join(repr(other) for other in found if other != path)
        warnings.warn(
            f"the checkpoint holds several state dicts: {path!r} is taken, not {rest}; `weights=NAME` chooses",
            Note,
            stacklevel=3,
        )
    return _cleaned(state)


def _candidates(tree: Mapping[str, Any], path: str = "") -> Any:
    """Yields (path, state dict) of the state dicts in a tree, the preferred one first."""
    arrays = {name: value for name, value in tree.items() if isinstance(value, np.ndarray)}
    if any(name.endswith("weight") for name in arrays):
        yield path, arrays
    for wrapper in (*WRAPPERS, *(name for name in tree if name in ("module", "model", "best"))):
        if isinstance(tree.get(wrapper), Mapping):
            yield from _candidates(tree[wrapper], f"{path}.{wrapper}".lstrip("."))


def _cleaned(state: Mapping[str, np.ndarray]) -> StateDict:
    weights, dropped = dict(state), []
    counters = [name for name in weights if name.endswith("num_batches_tracked")]
    mean, std = _taken_out(weights, _MEAN), _taken_out(weights, _STD)
    for name in counters:
        del weights[name]
    if counters:
        dropped.append(f"{len(counters)} num_batches_tracked, which inference does not use")
    prefixes: list[str] = []
    while weights:
        first = {name.partition(".")[0] for name in weights if "." in name}
        if len(first) != 1 or not first <= set(PREFIXES) or not all("." in name for name in weights):
            break
        prefixes += first
        weights = {name.partition(".")[2]: array for name, array in weights.items()}
    unused = [name for name in weights if name.startswith("sub_block1.")]
    if unused and any(name.startswith("block1.") for name in weights):
        for name in unused:
            del weights[name]
        dropped.append(f"{len(unused)} weights of sub_block1, which the network of TRADES has but does not use")
    return StateDict(weights, mean, std, tuple(prefixes), tuple(dropped))


def _taken_out(weights: dict[str, np.ndarray], pattern: re.Pattern[str]) -> np.ndarray | None:
    """Removes pixels' mean or standard deviation from weights; returns it, or None if there is none."""
    names = [name for name in weights if pattern.fullmatch(name) and weights[name].size in (1, 3)]
    found = [weights.pop(name) for name in names]
    return found[0].reshape(-1).astype(np.float32) if found else None


def _listed(names: Any) -> str:
    """Returns the first few names, and how many more there are."""
    names = [name or "the top" for name in names]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
