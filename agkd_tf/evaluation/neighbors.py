"""Accuracies of nearest-neighbor classification, next to those of the network's own outputs."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from agkd_tf.evaluation.key import Key
from agkd_tf.evaluation.result import Accuracy, html_table
from agkd_tf.text_table import aligned


@dataclasses.dataclass(frozen=True)
class NeighborAccuracies(Mapping[str, Accuracy]):
    """Accuracies of classification by nearest training images: attack's name -> `Accuracy`. It prints as a table.

    Attributes:
        neighbors: number of nearest training images that vote.
        by_neighbors, by_softmax: key of the result -> accuracy, of the neighbors' vote and of the network's outputs.
    """

    neighbors: int
    by_neighbors: dict[str, Accuracy]
    by_softmax: dict[str, Accuracy]

    @classmethod
    def of(cls, neighbors: int, found: Mapping[str, tuple[Mapping, Mapping]]) -> "NeighborAccuracies":
        """Builds the accuracies from key -> (`AttackResult.record` of the attack, `Accuracy.record` of the vote)."""
        softmax, votes = ({key: _accuracy(each[place]) for key, each in found.items()} for place in (0, 1))
        return cls(neighbors, votes, softmax)

    def __getitem__(self, name: str) -> Accuracy:
        for key, each in self.by_neighbors.items():
            if Key.read(key).attack == name:
                return each
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (Key.read(key).attack for key in self.by_neighbors)

    def __len__(self) -> int:
        return len(self.by_neighbors)

    @property
    def title(self) -> str:
        """The heading of the table."""
        return f"By the {self.neighbors} nearest training images:"

    def _rows(self) -> list[list[str]]:
        return [[key, _cell(self.by_softmax[key]), _cell(each)] for key, each in self.by_neighbors.items()]

    def __str__(self) -> str:
        return f"{self.title}\n{aligned([['attack', 'softmax', 'k-NN'], *self._rows()])}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(self.title, ["attack", "softmax", "k-NN"], self._rows())


def _accuracy(record: Mapping[str, Any]) -> Accuracy:
    return Accuracy(record["accuracy"], record["num_examples"], tuple(record["confidence_interval_95"]))


def _cell(found: Accuracy) -> str:
    low, high = found.interval
    return f"{100 * found.accuracy:.1f} ({100 * low:.1f}-{100 * high:.1f})"
