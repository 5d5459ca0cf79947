"""Embeddings in the plane: clean images of all classes, and the adversaries of one."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from agkd_tf.monitoring.figure import ADVERSARY_COLOR, CLASS_COLORS, LARGE, SMALL, new_figure


class TSNEPanel(NamedTuple):
    """Points of one model for one attacked class, from one joint fit.

    Attributes:
        clean: float32 [N, 2].
        clean_labels: int [N].
        adversarial: float32 [M, 2], adversaries of the attacked class.
    """

    clean: np.ndarray
    clean_labels: np.ndarray
    adversarial: np.ndarray


def tsne_figure(rows: Mapping[int, Mapping[str, TSNEPanel]], *, class_names: Sequence[str], attack: str) -> Figure:
    """Returns a figure: a row an attacked class, a column a model.

    Clean images are triangles in their class's color, the adversaries of the row's class red circles. Axes have
    no unit: only neighborhoods mean something in t-SNE.

    Args:
        rows: dict of attacked class (int) -> dict of model's title -> `TSNEPanel`.
        class_names: name of each class.
        attack: name of the attack, for the legend.

    Source: AGKD-BML's supplement, Figures 1-4.
    """
    columns = list(next(iter(rows.values())))
    shown = sorted(
        {int(label) for panels in rows.values() for panel in panels.values() for label in panel.clean_labels}
    )
    lines = math.ceil((len(shown) + 1) / len(columns))  # of the legend, whose columns are as wide as the panels
    figure = new_figure(1.7 * len(columns) + 0.5, 1.7 * len(rows) + 0.6 + 0.27 * lines)
    figure.set_layout_engine("constrained", h_pad=0.06)  # square panels leave titles less room than is planned for them
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    colors = dict(zip(shown, _colors(len(shown)), strict=True))
    for line, (attacked, panels) in zip(axes, rows.items(), strict=True):
        for axis, panel in zip(line, panels.values(), strict=True):
            for label in shown:
                points = panel.clean[panel.clean_labels == label]
                axis.scatter(*points.T, s=5, marker="^", color=colors[label], linewidths=0)
            axis.scatter(
                *panel.adversarial.T, s=9, marker="o", color=ADVERSARY_COLOR, edgecolors="white", linewidths=0.3
            )
            axis.set(xticks=[], yticks=[])
            axis.set_box_aspect(1)
        line[0].set_ylabel(class_names[attacked], fontsize=LARGE)
    for axis, title in zip(axes[0], columns, strict=True):
        axis.set_title(title, fontsize=LARGE)
    handles = [_mark("^", colors[label], class_names[label]) for label in shown]
    handles.append(_mark("o", ADVERSARY_COLOR, f"attacked ({attack})"))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(columns),
        fontsize=SMALL,
        frameon=False,
        columnspacing=1.0,
        handletextpad=0.2,
    )
    return figure


def _colors(count: int) -> Sequence[Any]:
    if count <= len(CLASS_COLORS):
        return CLASS_COLORS[:count]
    return list(matplotlib.colormaps["viridis"](np.linspace(0, 1, count)))


def _mark(marker: str, color: Any, label: str) -> Line2D:
    return Line2D([], [], linestyle="none", marker=marker, color=color, markersize=5, label=label)
