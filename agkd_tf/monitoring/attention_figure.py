"""Pictures of what a network sees: image, adversary, perturbation, attention maps."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from agkd_tf.attacks import PGD
from agkd_tf.attention import comparable, compared_maps
from agkd_tf.data.image_dataset import Examples
from agkd_tf.data.pixels import as_float
from agkd_tf.models import Classifier
from agkd_tf.monitoring.figure import SMALL, new_figure, pixels
from agkd_tf.randomness import step_seed
from agkd_tf.types import PathLike

PANEL_ATTACK_STEPS = 10


class AttentionPanels(keras.callbacks.Callback):
    """Writes an attention figure to TensorBoard every few epochs, and after the last one.

    Args:
        folder: TensorBoard folder of the run.
        examples: `Examples` to choose from; the first `rows` of them are shown each time.
        every: epochs between figures.
        epochs: number of the run's last epoch, counted from 1.
        class_names: name of each class.
        rows: images shown.
    """

    def __init__(
        self,
        folder: PathLike,
        examples: Examples,
        *,
        every: int,
        epochs: int,
        class_names: Sequence[str],
        rows: int = 6,
    ) -> None:
        super().__init__()
        self._folder, self._every, self._class_names = str(folder), every, class_names
        self._examples, self._epochs = examples.take(slice(0, rows)), epochs

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        if (epoch + 1) % self._every and epoch + 1 != self._epochs:
            return
        defense = self.model
        with defense.averaged():
            images, labels = as_float(tf.constant(self._examples.images)), tf.constant(self._examples.labels)
            attack = PGD(PANEL_ATTACK_STEPS)
            seed = step_seed(defense.seed, 0)
            places, ball = tf.range(len(labels)), defense.ball
            adversaries = attack.perturb(
                defense.classifier.logits, images, labels, ball=ball, indices=places, seed=seed
            )
            figure = attention_figure(
                defense.classifier,
                self._examples,
                adversaries,
                teacher=comparable(defense.guide, defense.classifier),
                attention=getattr(defense, "attention", "agkd"),
                eps=ball.eps if ball.norm == "linf" else None,
                class_names=self._class_names,
            )
        with tf.summary.create_file_writer(self._folder + "/panels").as_default():
            tf.summary.image("attention", pixels(figure)[None], step=epoch)


def attention_figure(
    student: Classifier,
    examples: Examples,
    adversaries: np.ndarray | tf.Tensor,
    *,
    eps: float | None,
    class_names: Sequence[str],
    teacher: Classifier | None = None,
    attention: str = "agkd",
) -> Figure:
    """Returns a figure, a row an image: clean, adversary, perturbation, the teacher's map, the student's maps.

    Perturbations and maps (see `compared_maps`) have one scale throughout.

    Args:
        student: `agkd_tf.models.Classifier`.
        examples: `Examples`.
        adversaries: float32 [N, H, W, C] in [0, 1].
        eps: of the l_inf ball, for the perturbation's scale; None for the largest change of a pixel.
        class_names: name of each class.
        teacher: `Classifier` whose map of the clean image is shown, or None.
        attention: a name of `ATTENTION_MAPS`.
    """
    clean, labels = as_float(tf.constant(examples.images)), tf.constant(examples.labels)
    adversaries = tf.constant(adversaries)
    maps, logits = compared_maps(attention, student, clean, adversaries, labels, teacher=teacher)
    if eps is None:
        eps = float(tf.reduce_max(tf.abs(adversaries - clean)))
    # Half grey is no change; the ball's edges are black and white.
    pictures = {
        "clean": clean,
        "adversary": adversaries,
        f"perturbation\n(±{255 * eps:.3g}/255)": 0.5 + (adversaries - clean) / (2 * max(eps, 1e-8)),
    }
    maps = {name.replace(", ", ",\n"): drawn for name, drawn in maps.items()}
    seen = tf.argmax(logits, axis=1)
    titles = [f"{class_names[true]}\n→ {class_names[found]}" for true, found in zip(labels, seen, strict=True)]
    return _grid(pictures, maps, titles)


def most_attacked(
    labels: np.ndarray, clean_predictions: np.ndarray, adversarial_predictions: np.ndarray, rows: int
) -> list[int]:
    """Returns places of images in the classes that an attack takes most from, an image a class.

    Classes are ordered by the share of their correctly classified images whose adversary is misclassified; the
    first such image of a class is chosen.

    Args:
        labels, clean_predictions, adversarial_predictions: int [N].
        rows: classes asked for; fewer are given where fewer have a broken image.
    """
    right = clean_predictions == labels
    broken = right & (adversarial_predictions != labels)
    shares = {label: broken[labels == label].sum() / right[labels == label].sum() for label in set(labels[broken])}
    worst = sorted(shares, key=lambda label: (-shares[label], label))[:rows]
    return [int(np.flatnonzero(broken & (labels == label))[0]) for label in worst]


def _grid(pictures: Mapping[str, tf.Tensor], maps: Mapping[str, tf.Tensor], titles: Sequence[str]) -> Figure:
    count = len(pictures) + len(maps)
    figure = new_figure(1.05 * count + 1.3, 1.05 * len(titles) + 0.6)
    axes = figure.subplots(len(titles), count, squeeze=False)
    for place, (heading, images) in enumerate({**pictures, **maps}.items()):
        axes[0, place].set_title(heading, fontsize=SMALL)
        is_map = heading in maps
        for axis, image in zip(axes[:, place], np.asarray(images), strict=True):
            axis.set(xticks=[], yticks=[])
            shown = axis.imshow(
                image if is_map else np.clip(image.squeeze(), 0, 1),
                cmap="viridis" if is_map else "gray",
                vmin=0,
                vmax=1,
            )
    for axis, title in zip(axes[:, 0], titles, strict=True):
        axis.set_ylabel(title, fontsize=SMALL, rotation=0, ha="right", va="center")
    bar = figure.colorbar(shown, ax=axes[:, -1], fraction=0.08, pad=0.06, ticks=[0, 0.5, 1])
    bar.set_label("attention, scaled to each image", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    return figure
