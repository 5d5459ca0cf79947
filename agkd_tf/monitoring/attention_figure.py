"""Pictures of what a defense sees: image, adversary, perturbation, attention maps."""

import keras
import numpy as np
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from agkd_tf.attacks import pgd_attack
from agkd_tf.attention import class_irrelevant_map
from agkd_tf.data.pixels import as_float
from agkd_tf.randomness import step_seed

PANEL_ATTACK_STEPS = 10


class AttentionPanels(keras.callbacks.Callback):
    """Writes an image panel to TensorBoard every few epochs, and after the last one.

    A row an image; columns: clean, adversary (PGD-10), perturbation, the teacher's map of the clean
    image where there is a teacher, and the student's maps of both.

    Args:
        folder: TensorBoard folder of the run.
        examples: `Examples` to choose from; the first `rows` of them are shown each time.
        every: epochs between panels.
        rows: images shown.
    """

    def __init__(self, folder, examples, *, every, rows=6):
        super().__init__()
        self._folder, self._every = str(folder), every
        self._examples = examples.take(slice(0, rows))

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self._every == 0 or epoch + 1 == self.params["epochs"]:
            with self.model.averaged():
                picture = attention_panel(self.model, self._examples)
            with tf.summary.create_file_writer(self._folder + "/panels").as_default():
                tf.summary.image("attention", picture[None], step=epoch)


def attention_panel(defense, examples):
    """Returns the panel of a defense for some examples, as uint8 [height, width, 3].

    Args:
        defense: `Defense`; its student is attacked at the defense's `eps`.
        examples: `Examples`, a row each.
    """
    images = as_float(tf.constant(examples.images))
    labels = tf.constant(examples.labels)
    student, teacher = defense.classifier, getattr(defense, "guide", None)
    attack = pgd_attack(PANEL_ATTACK_STEPS, eps=defense.eps)
    adv = attack(student.logits, images, labels, tf.range(len(labels)), step_seed(defense.seed, 0))
    columns = {"clean": images, "adversary": adv}
    # Half grey is no change; the ball's edges are black and white.
    columns["perturbation"] = 0.5 + (adv - images) / (2 * max(defense.eps, 1e-8))
    if teacher is not None:
        columns["teacher: clean"] = class_irrelevant_map(teacher(images).features)
    columns["student: clean"] = class_irrelevant_map(student(images).features)
    columns["student: adversary"] = class_irrelevant_map(student(adv).features)
    return draw_grid({title: np.asarray(pictures) for title, pictures in columns.items()})


def draw_grid(columns):
    """Returns a titled grid of pictures as uint8 [height, width, 3].

    Args:
        columns: dict of title -> float [rows, h, w, 1 or 3] or [rows, h, w] in [0, 1]; the latter are
            maps, drawn in colour.
    """
    rows = len(next(iter(columns.values())))
    figure = Figure(figsize=(1.35 * len(columns), 1.3 * rows + 0.25), dpi=100, layout="constrained")
    axes = figure.subplots(rows, len(columns), squeeze=False)
    for place, (title, pictures) in enumerate(columns.items()):
        axes[0, place].set_title(title, fontsize=8)
        for row, picture in enumerate(pictures):
            axis = axes[row, place]
            axis.set_axis_off()
            is_map = picture.ndim == 2
            axis.imshow(
                picture if is_map else np.clip(picture.squeeze(), 0, 1),
                cmap="viridis" if is_map else "gray",
                vmin=0,
                vmax=1,
            )
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
