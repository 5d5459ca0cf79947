"""Which cases of a test run in the fast run, where there are many: with --all, all of them do."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest

# Plain; with a second attack and other images; with noise of each image's own; with a teacher's maps; with a robust
# teacher's gradients; with a memory of each image.
ONE_OF_EACH_KIND = ("at", "sml", "cat_mix", "agkd_bml", "igdm", "fgsm_pgi")


def crossed(ways: Collection[Any], values: Collection[Any]) -> list:
    """Returns (way, value) for all pairs, as `parametrize` takes them; the fast run has each way and each value.

    Of 2 ways and 3 values, the fast ones are (0, 0), (1, 1) and (0, 2).
    """
    longer = max(len(ways), len(values))
    fast = {(number % len(ways), number % len(values)) for number in range(longer)}
    return [
        pytest.param(way, value, marks=[] if (row, column) in fast else [pytest.mark.slow])
        for row, way in enumerate(ways)
        for column, value in enumerate(values)
    ]


def fast_for(names: Iterable[str], fast: Collection[str] = ONE_OF_EACH_KIND) -> list:
    """Returns names, such as those of defenses, as `parametrize` takes them; the fast run has those in `fast`."""
    return [pytest.param(name, marks=[] if name in fast else [pytest.mark.slow]) for name in names]
