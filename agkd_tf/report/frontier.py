"""Accuracy on clean images against accuracy under attack, and the frontier: the runs that no other beats in both."""

import dataclasses
import statistics
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from agkd_tf.errors import InputError
from agkd_tf.monitoring.figure import CLASS_COLORS, SMALL, new_figure
from agkd_tf.report.runs import Measurement, Run, attack_names, measurement, titles
from agkd_tf.report.summary import CLEAN, comparable

ON, OFF = CLASS_COLORS[0], "#8c8c8c"
NEAR = 0.03  # of the range of all points: closer ones share a label


@dataclasses.dataclass(frozen=True)
class Point:
    """Runs that differ in the seed alone: what they are called, and their `Measurement`s."""

    title: str
    clean: Measurement
    robust: Measurement

    def is_beaten_by(self, other: "Point") -> bool:
        """Returns whether another point is at least as good in both accuracies, and better in one."""
        mine, its = ((each.clean.accuracy, each.robust.accuracy) for each in (self, other))
        return mine != its and its[0] >= mine[0] and its[1] >= mine[1]


@dataclasses.dataclass(frozen=True)
class Frontier:
    """Runs by their clean and their robust accuracy.

    Attributes:
        attack: the attack of the robust accuracy.
        points: `Point`s, the highest clean accuracy first.
        left_out: titles of the runs without both accuracies, or with that under attack on another number of images.
    """

    attack: str
    points: tuple[Point, ...]
    left_out: tuple[str, ...] = ()

    @property
    def best(self) -> list[Point]:
        """The points that no other one beats, from the highest clean accuracy to the highest robust accuracy."""
        return [point for point in self.points if not any(point.is_beaten_by(other) for other in self.points)]

    @property
    def mean_robust_accuracy(self) -> float:
        """Mean over the points."""
        return statistics.fmean(point.robust.accuracy for point in self.points)

    def figure(self) -> Figure:
        """Returns a `matplotlib.figure.Figure`: points with 95 % intervals, numbered, the frontier drawn in blue."""
        figure = new_figure(9.0, max(4.5, 1.2 + 0.27 * len(self.points)))
        axis = figure.subplots()
        best, handles = self.best, []
        for number, point in enumerate(self.points, 1):
            color = ON if point in best else OFF
            x, y = (100 * each.accuracy for each in (point.clean, point.robust))
            across, up = (
                [[100 * (each.accuracy - each.low)], [100 * (each.high - each.accuracy)]]
                for each in (point.clean, point.robust)
            )
            axis.errorbar(x, y, xerr=across, yerr=up, fmt="o", color=color, markersize=4, linewidth=0.8, alpha=0.7)
            seeds = max(point.clean.seeds, point.robust.seeds)
            label = f"{number}  {point.title}" + (f" ({seeds} seeds)" if seeds > 1 else "")
            handles.append(Line2D([], [], linestyle="none", marker="o", markersize=4, color=color, label=label))
        for numbers in _close_together(self.points):
            points = [self.points[number - 1] for number in numbers]
            place = tuple(100 * max(getattr(point, kind).accuracy for point in points) for kind in ("clean", "robust"))
            color = ON if any(point in best for point in points) else OFF
            label = ", ".join(map(str, numbers))
            axis.annotate(label, place, (4, 4), textcoords="offset points", color=color, fontsize=SMALL)
        clean, robust = ([100 * getattr(point, kind).accuracy for point in best] for kind in ("clean", "robust"))
        axis.plot(clean, robust, color=ON, linewidth=1.2)
        axis.set_xlabel(f"clean, % {_counts([point.clean for point in self.points])}", fontsize=SMALL)
        axis.set_ylabel(f"under {self.attack}, % {_counts([point.robust for point in self.points])}", fontsize=SMALL)
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_locator(MaxNLocator(integer=True))
        axis.grid(color="#e5e5e5", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        legend = figure.legend(
            handles=handles, loc="outside right upper", fontsize=SMALL, frameon=False, handletextpad=0.2
        )
        for text in (axis.yaxis.label, *legend.get_texts()):
            text.set_parse_math(False)  # a folder's name may have a $
        return figure


def frontier_of(groups: Sequence[Sequence[Run]], attack: str | None = None) -> Frontier | None:
    """Returns the `Frontier` of groups of runs that differ in the seed alone; None where no two of them compare.

    Two compare that have the same data set and ball, and robust accuracies of as many images. Groups without a result
    on the number of images that most have are in `Frontier.left_out`; those without any evaluation do not count.

    Args:
        groups: as `grouped` returns them.
        attack: attack of the robust accuracy; if None, the one that most groups have a result of, and of several the
            one that leaves the least accuracy.

    Raises:
        InputError: for an attack that is given, if no two runs compare under it.
    """
    groups = [group for group in groups if any(run.attacks for run in group)]
    names = [name for name in attack_names(run for group in groups for run in group) if name != CLEAN]
    chosen = [name for name in names if attack in (None, name)] if comparable(groups) else []
    candidates = [found for found in (_frontier(groups, name) for name in chosen) if len(found.points) >= 2]
    if candidates:
        return max(candidates, key=lambda each: (len(each.points), -each.mean_robust_accuracy))
    if attack:
        raise InputError(
            f"`frontier={attack!r}` needs two runs on one data set and ball with accuracies on clean images and under "
            f"this attack. Attacks of these runs: {', '.join(names) or 'none'}"
        )
    return None


def _frontier(groups: Sequence[Sequence[Run]], attack: str) -> Frontier:
    """Returns the `Frontier` of an attack on the number of images that most groups have; it may be empty."""
    names = titles(groups)
    measured = [
        Point(title, clean, robust)
        for title, group in zip(names, groups, strict=True)
        if (clean := measurement(group, CLEAN)) and (robust := measurement(group, attack))
    ]
    counts = [point.robust.num_examples for point in measured]
    usual = max(counts, key=lambda count: (counts.count(count), count), default=0)
    points = [point for point in measured if point.robust.num_examples == usual]
    shown = {point.title for point in points}
    best_first = sorted(points, key=lambda point: -point.clean.accuracy)
    return Frontier(attack, tuple(best_first), tuple(name for name in names if name not in shown))


def _close_together(points: Sequence[Point]) -> list[list[int]]:
    """Returns the numbers of the points, counted from 1, in groups whose labels would overlap."""
    across, up = (
        max(getattr(point, kind).high for point in points) - min(getattr(point, kind).low for point in points)
        for kind in ("clean", "robust")
    )
    groups: list[list[int]] = []
    for number, point in enumerate(points, 1):
        for group in groups:
            first = points[group[0] - 1]
            apart = (
                abs(point.clean.accuracy - first.clean.accuracy),
                abs(point.robust.accuracy - first.robust.accuracy),
            )
            if apart[0] <= NEAR * across and apart[1] <= NEAR * up:
                group.append(number)
                break
        else:
            groups.append([number])
    return groups


def _counts(measured: Sequence[Measurement]) -> str:
    """Returns how many test images accuracies are of."""
    counts = sorted({each.num_examples for each in measured})
    return f"of {' or '.join(f'{count:,}' for count in counts)} images"
