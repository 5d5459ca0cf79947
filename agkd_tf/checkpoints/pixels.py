"""The pixels that a checkpoint's network takes, which most files do not say."""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from agkd_tf.checkpoints.families import Family
from agkd_tf.checkpoints.state_dict import StateDict
from agkd_tf.errors import InputError
from agkd_tf.models.adapt import pixel_scale_and_offset


class Pixels(NamedTuple):
    """A normalisation: the network receives (images - mean) / std, for images in [0, 1].

    Attributes:
        mean, std: one number, or one per channel.
        reason: where they are from.
        is_guess: whether other networks of the same names take other pixels.
    """

    mean: Sequence[float]
    std: Sequence[float]
    reason: str
    is_guess: bool = False

    def as_flags(self) -> str:
        """Returns the flags that choose them."""
        return f"`pixel_mean={_spelled(self.mean)}, pixel_std={_spelled(self.std)}`"


#: The normalisations that published networks have.
UNIT, SYMMETRIC = ((0.0,), (1.0,)), ((0.5,), (0.5,))
CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))
CIFAR100 = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
KNOWN: Mapping[str, tuple[Sequence[float], Sequence[float]]] = {
    "images in [0, 1] as they are": UNIT,
    "images scaled to [-1, 1]": SYMMETRIC,
    "CIFAR-10's mean and standard deviation": CIFAR10,
    "CIFAR-100's mean and standard deviation": CIFAR100,
}


def pixels_of(
    state: StateDict,
    family: Family,
    said: Mapping[str, str],
    *,
    channels: int,
    num_classes: int,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
) -> Pixels:
    """Returns the `Pixels` of a checkpoint's network: given ones, those in the file, or what its family has.

    Args:
        state: the `StateDict`.
        family: its `Family`.
        said: what the file says of itself (see `agkd_tf.checkpoints.readers.Checkpoint`).
        channels, num_classes: of the network.
        mean, std: given by the user; None for both to find them.

    Raises:
        InputError: for one of mean and std without the other, or values that do not fit; or if nothing says which
            pixels the network takes.
    """
    found = _found(state, family, said, channels, num_classes, mean, std)
    pixel_scale_and_offset((0, 1), found.mean, found.std, channels, prefix="pixel_", units="the images' range")
    return found


def _found(
    state: StateDict,
    family: Family,
    said: Mapping[str, str],
    channels: int,
    num_classes: int,
    mean: float | Sequence[float] | None,
    std: float | Sequence[float] | None,
) -> Pixels:
    if (mean is None) != (std is None):
        raise InputError("`pixel_mean` needs `pixel_std`, and the other way round: give both, or neither")
    if mean is not None and std is not None:
        return Pixels(_numbers(mean), _numbers(std), "as given")
    if state.mean is not None and state.std is not None:
        return Pixels(_numbers(state.mean), _numbers(state.std), "stored in the file")
    if "pixel_mean" in said and "pixel_std" in said:
        return Pixels(json.loads(said["pixel_mean"]), json.loads(said["pixel_std"]), "stored in the file")
    if family.name.endswith("-deepmind"):
        if channels != 3 or num_classes not in (10, 100):
            raise InputError(
                f"the pixels of a {family.name} for {num_classes} classes and {channels} channels are not known: give "
                "`pixel_mean=MEAN, pixel_std=STD`"
            )
        data = "CIFAR-10" if num_classes == 10 else "CIFAR-100"
        given = CIFAR10 if num_classes == 10 else CIFAR100
        return Pixels(*given, f"{data}'s mean and standard deviation, as networks of this family have them")
    if "basic_net" in state.prefixes:
        return Pixels(*SYMMETRIC, "as AGKD-BML and FeatureScatter, whose checkpoints have the prefix basic_net")
    if any("sub_block1" in text for text in state.dropped):
        return Pixels(*UNIT, "as TRADES and MART, whose checkpoints have sub_block1", is_guess=True)
    return Pixels(*UNIT, "as most networks of this family", is_guess=True)


def _numbers(values: float | Sequence[float] | np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 7) for value in np.asarray(values, np.float64).reshape(-1))


def _spelled(values: Sequence[float]) -> str:
    numbers = [f"{value:g}" for value in values]
    return numbers[0] if len(numbers) == 1 else f"({', '.join(numbers)})"
