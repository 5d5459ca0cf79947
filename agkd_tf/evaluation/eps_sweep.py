"""Accuracy under an attack as a function of the ball's radius."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from agkd_tf.attacks import Ball, Norm
from agkd_tf.evaluation.result import Accuracy, format_norm, quantile
from agkd_tf.perturbation_size import format_size
from agkd_tf.types import Interval

COLUMNS = ("eps", "accuracy", "confidence_interval_95")
DRAWN = 400  # points of a curve that is known everywhere


@dataclasses.dataclass(frozen=True)
class EpsSweep:
    """Accuracies under one attack for several radii of the ball. It prints as one line.

    Attributes:
        attack: the attack's name.
        norm: linf or l2.
        points: (eps, accuracy, (low, high) of its 95 % interval), by increasing eps.
        pictures: image files of the curve.
        norms: of an attack that searches for the smallest perturbation, float32 [N], see `AttackResult`: with them, the
            curve is drawn at every eps. None for other attacks.
    """

    attack: str
    norm: Norm
    points: tuple[tuple[float, float, tuple[float, float]], ...]
    pictures: tuple[pathlib.Path, ...] = ()
    norms: np.ndarray | None = dataclasses.field(default=None, compare=False)

    @classmethod
    def recorded(cls, attack: str, norm: Norm, section: Mapping[str, list]) -> "EpsSweep":
        """Returns the sweep from a section that `record` returned; an empty section gives a sweep without points."""
        return cls(attack, norm, tuple(zip(*(section.get(column, ()) for column in COLUMNS), strict=True)))

    def joined(self, found: Mapping[float, Accuracy]) -> "EpsSweep":
        """Returns the sweep with further points added (eps -> accuracy); they replace points with the same eps."""
        points = {point[0]: point for point in self.points}
        points |= {size: (size, each.accuracy, each.interval) for size, each in found.items()}
        return dataclasses.replace(self, points=tuple(points[size] for size in sorted(points)))

    def record(self) -> dict[str, Any]:
        """Returns the sweep as a dict for JSON."""
        return {name: list(each) for name, each in zip(COLUMNS, zip(*self.points, strict=True), strict=True)}

    def drawn(self, path: pathlib.Path, folder: pathlib.Path | None = None) -> "EpsSweep":
        """Draws the curve as PNG and PDF; returns the sweep with `pictures` set.

        Args:
            path: path of the pictures, without a suffix.
            folder: TensorBoard folder to write the curve to as well; None for none.
        """
        from agkd_tf.monitoring import write_eps_curve  # Matplotlib takes a while to load

        pictures = write_eps_curve(
            path, list(self.points), attack=self.attack, norm=self.norm, curve=self._curve(), folder=folder
        )
        return dataclasses.replace(self, pictures=tuple(pictures))

    def _curve(self) -> list[tuple[float, float, Interval]]:
        """Returns points close enough to draw the curve between the least and the greatest eps; none without norms."""
        if self.norms is None or not self.points:
            return []
        sizes = np.linspace(self.points[0][0], self.points[-1][0], DRAWN)
        found = [Accuracy.of(self.norms > Ball(self.norm, size).limit) for size in sizes]
        return [(size, each.accuracy, each.interval) for size, each in zip(sizes.tolist(), found, strict=True)]

    def __str__(self) -> str:
        curve = ", ".join(f"{format_size(size)}: {100 * accuracy:.1f}" for size, accuracy, _ in self.points)
        line = f"{self.attack}, accuracy in % by {self.norm} eps: {curve}"
        if self.norms is None:
            return line
        return f"{line}; median norm {format_norm(quantile(self.norms, 0.5), self.norm)}"

    __repr__ = __str__
