"""Accuracy against the size of the perturbation, as a picture and in TensorBoard."""

import pathlib
from collections.abc import Sequence

import tensorflow as tf

from agkd_tf.monitoring.figure import CLASS_COLORS, new_figure, pixels, save_figure
from agkd_tf.types import Interval, PathLike


def write_eps_curve(
    path: pathlib.Path,
    points: Sequence[tuple[float, float, Interval]],
    *,
    attack: str,
    norm: str,
    curve: Sequence[tuple[float, float, Interval]] = (),
    folder: PathLike | None = None,
) -> list[pathlib.Path]:
    """Draws a curve with its confidence band as PNG and PDF, and writes it to TensorBoard; returns the paths.

    Args:
        path: `pathlib.Path` without its suffix.
        points: list of (eps, accuracy, (low, high)), by rising eps.
        attack: name of the attack.
        norm: linf or l2.
        curve: points like these, close enough to draw the curve with; the others are only marked. Without them, lines
            join the points.
        folder: TensorBoard folder; the scalar `eps_sweep/<attack>` is in percent, its step is eps in
            255ths (l_inf) or thousandths (l_2). None for no TensorBoard.
    """
    unit, label = (255.0, "eps (l_inf, in 255ths)") if norm == "linf" else (1.0, "eps (l_2)")
    drawn = curve or points
    sizes = [unit * eps for eps, _, _ in drawn]
    low, high = ([100 * interval[side] for _, _, interval in drawn] for side in (0, 1))
    figure = new_figure(3.4, 2.4)
    axes, color = figure.subplots(), CLASS_COLORS[0]
    axes.fill_between(sizes, low, high, color=color, alpha=0.2, linewidth=0, label="95 % interval")
    axes.plot(sizes, [100 * accuracy for _, accuracy, _ in drawn], color=color, label=attack)
    marked = [(unit * eps, 100 * accuracy) for eps, accuracy, _ in points]
    axes.plot(*zip(*marked, strict=True), color=color, marker="o", markersize=3, linestyle="")
    axes.set(xlabel=label, ylabel="accuracy (%)", ylim=(0, 100))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    written = save_figure(figure, path)
    if folder is not None:
        with tf.summary.create_file_writer(str(folder)).as_default():
            steps = 255 if norm == "linf" else 1000
            for eps, accuracy, _ in points:
                tf.summary.scalar(f"eps_sweep/{attack}", 100 * accuracy, step=round(steps * eps))
            tf.summary.image(f"eps_sweep/{attack}", pixels(figure)[None], step=0)
    return written
