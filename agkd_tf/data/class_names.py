"""Numbers classes by name: a class's number is its position among the model's class names, or else the data's."""

import dataclasses
import unicodedata
import warnings
from collections.abc import Iterable, Sequence

import numpy as np

from agkd_tf.data.image_dataset import ImageDataset
from agkd_tf.errors import InputError, Note


def places(names: Sequence[str], known: Sequence[str], *, whose: str) -> np.ndarray:
    """Returns int32 [len(names)]: each name's position in `known`.

    Two names are equal if they have the same characters, however Unicode encodes them.

    Args:
        names: class names.
        known: class names to look them up in.
        whose: what the names belong to, as an error message calls it.

    Raises:
        InputError: if a name is not in `known`.
    """
    number = {_normal(name): place for place, name in enumerate(known)}
    unknown = [name for name in names if _normal(name) not in number]
    if unknown:
        raise InputError(
            f"{whose} has classes that the model does not know: {_listed(unknown)}. It knows: {_listed(known)}; "
            "rename these classes, or remove their images"
        )
    return np.array([number[_normal(name)] for name in names], np.int32)


def numbered_by(dataset: ImageDataset, class_names: Sequence[str]) -> ImageDataset:
    """Returns the `ImageDataset` with its labels renumbered: each class gets the position of its name in `class_names`.

    Args:
        dataset: `ImageDataset` whose class names are some or all of `class_names`, in any order.
        class_names: one name per class, in the order of the new labels.

    Warns:
        Note: if any label changes, or the data lack some of the classes.

    Raises:
        InputError: if a class of the data is not in `class_names`, or a name appears twice.
    """
    check_class_names(class_names)
    new = places(dataset.class_names, class_names, whose=f"`dataset` {dataset.name}")
    if len(new) < len(class_names) or np.any(new != np.arange(len(new))):
        warnings.warn(
            f"`dataset` {dataset.name} does not have the model's class names in the model's order: its labels were "
            f"matched by name; it has {len(new)} of {len(class_names)} classes: {_listed(dataset.class_names)}",
            Note,
            stacklevel=3,
        )
    train, validation, test = (
        dataclasses.replace(each, labels=new[each.labels]) for each in (dataset.train, dataset.validation, dataset.test)
    )
    return dataclasses.replace(dataset, class_names=tuple(class_names), train=train, validation=validation, test=test)


def check_class_names(class_names: Iterable[str]) -> None:
    """Checks class names: there must be at least two, none empty and no two the same.

    Raises:
        InputError: if this does not hold.
    """
    names = list(class_names)
    if not all(isinstance(name, str) and name for name in names):
        raise InputError(f"`class_names` must be non-empty strings. Received: {names}")
    if len(names) < 2 or len(set(map(_normal, names))) < len(names):
        raise InputError(f"`class_names` must be two or more different names. Received: {_listed(names)}")


def same_names(one: Iterable[str], other: Iterable[str]) -> bool:
    """Returns whether two sequences of class names are the same, in the same order."""
    return [_normal(name) for name in one] == [_normal(name) for name in other]


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)  # one system writes é as one character, another as two


def _listed(names: Sequence[str], most: int = 10) -> str:
    shown = [repr(name) for name in list(names)[:most]]
    return ", ".join(shown + ([f"and {len(names) - most} more"] if len(names) > most else []))
