"""What all figures share: canvas, colors, files."""

import pathlib

import matplotlib
import numpy as np
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure

from agkd_tf.files import replacing
from agkd_tf.types import PathLike

# Five of Okabe and Ito's colors (their pink is red to a tritanope) and five others: people without any one of the cones
# tell them, and the adversaries' red, apart.
CLASS_COLORS = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#56b4e9",
    "#a55aff",
    "#f0e442",
    "#332288",
    "#000000",
    "#2020ff",
    "#5a1a1a",
)
ADVERSARY_COLOR = "#e3000f"
# Points. A figure of some 7 inches shrinks to half of that in a column, where these can still be read.
LARGE, SMALL = 14, 12


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure of a size in inches that lays itself out."""
    return Figure(figsize=(width, height), dpi=200, layout="constrained")


def pixels(figure: Figure) -> np.ndarray:
    """Returns a figure as uint8 [height, width, 3]."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save_figure(figure: Figure, path: pathlib.Path, *, tensorboard: PathLike | None = None) -> list[pathlib.Path]:
    """Writes a figure as PNG and as PDF; returns both paths.

    The PDF embeds its letters as TrueType: publishers refuse Matplotlib's default, Type 3.

    Args:
        figure: `matplotlib.figure.Figure`.
        path: `pathlib.Path` without its suffix.
        tensorboard: TensorBoard's folder, to write it to as well, under the name of the files; None for none.
    """
    paths = [path.with_name(f"{path.name}.{suffix}") for suffix in ("png", "pdf")]
    for canvas, target in zip((FigureCanvasAgg(figure), FigureCanvasPdf(figure)), paths, strict=True):
        with replacing(target) as temporary, matplotlib.rc_context({"pdf.fonttype": 42}):
            canvas.print_figure(str(temporary), dpi=200)
    if tensorboard is not None:
        with tf.summary.create_file_writer(str(tensorboard)).as_default():
            tf.summary.image(path.name, pixels(figure)[None], step=0)
    return paths
