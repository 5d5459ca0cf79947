"""Classes by their names: a class' number is its place among the names of the model, or else of the data."""

import dataclasses
import unicodedata
import warnings
from collections.abc import Iterable, Sequence

import numpy as np

from agkd_tf.data.image_dataset import ImageDataset
from agkd_tf.errors import InputError, Note


def places(names: Sequence[str], known: Sequence[str], *, whose: str) -> np.ndarray:
    """Returns int32 [len(names)]: each name's place in `known`. Names of the same characters are the same.

    Args:
        names: class names.
        known: the names among which they are looked up.
        whose: how a message calls what `names` are of.

    Raises:
        InputError: if any is not there.
    """
    number = {_normal(name): place for place, name in enumerate(known)}
    unknown = [name for name in names if _normal(name) not in number]
    if unknown:
        raise InputError(
            f"{whose} has classes that the model does not know: {_listed(unknown)}. It knows: {_listed(known)}; "
            "rename the classes, or leave their images out"
        )
    return np.array([number[_normal(name)] for name in names], np.int32)


def numbered_by(dataset: ImageDataset, class_names: Sequence[str]) -> ImageDataset:
    """Returns the `ImageDataset` with the labels that its classes have among `class_names`, found by name.

    Args:
        dataset: `ImageDataset` whose class names are some of `class_names`, or all, in any order.
        class_names: names, a class each, in the order of the new labels.

    Warns:
        Note: if any label becomes another, or some of the classes are not in the data.

    Raises:
        InputError: for a class that is not among `class_names`, or a name that is there twice.
    """
    check_class_names(class_names)
    new = places(dataset.class_names, class_names, whose=f"`dataset` {dataset.name}")
    if len(new) < len(class_names) or np.any(new != np.arange(len(new))):
        warnings.warn(
            f"`dataset` {dataset.name} has other class names or another order than the model: its labels are those of "
            f"the model, by name; it has {len(new)} of {len(class_names)} classes: {_listed(dataset.class_names)}",
            Note,
            stacklevel=3,
        )
    train, validation, test = (
        dataclasses.replace(each, labels=new[each.labels]) for each in (dataset.train, dataset.validation, dataset.test)
    )
    return dataclasses.replace(dataset, class_names=tuple(class_names), train=train, validation=validation, test=test)


def check_class_names(class_names: Iterable[str]) -> None:
    """Checks class names: at least two, none empty and none twice.

    Raises:
        InputError: if they are not.
    """
    names = list(class_names)
    if not all(isinstance(name, str) and name for name in names):
        raise InputError(f"`class_names` must be texts. Received: {names}")
    if len(names) < 2 or len(set(map(_normal, names))) < len(names):
        raise InputError(f"`class_names` must be two or more, each another. Received: {_listed(names)}")


def same_names(one: Iterable[str], other: Iterable[str]) -> bool:
    """Returns whether two sequences of class names are the same, in the same order."""
    return [_normal(name) for name in one] == [_normal(name) for name in other]


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)  # one system writes é as one character, another as two


def _listed(names: Sequence[str], most: int = 10) -> str:
    shown = [repr(name) for name in list(names)[:most]]
    return ", ".join(shown + ([f"and {len(names) - most} more"] if len(names) > most else []))
