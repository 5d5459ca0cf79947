"""Attention maps, clean and under attack: a figure of some images, and how far the maps move on all images."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from matplotlib.figure import Figure

from agkd_tf.analysis import attention_shift
from agkd_tf.attacks import Attack, AttackSequence
from agkd_tf.attention import ATTENTION_MAPS, comparable
from agkd_tf.compilation import JitCompile
from agkd_tf.errors import InputError
from agkd_tf.evaluation import Subject, examples_of, subject_of
from agkd_tf.files import write_text
from agkd_tf.models import Classifier
from agkd_tf.monitoring import attention_figure, most_attacked, save_figure
from agkd_tf.progress import Mode
from agkd_tf.settings import LARGEST, Choice, Count, Pixels, Range, check_settings
from agkd_tf.training.recipe_file import read_recipe
from agkd_tf.types import Interval, PathLike
from agkd_tf.visualization.attacked import Crafting, classifier_of, file_name, names_of_classes, shared_eps


@dataclasses.dataclass(frozen=True)
class AttentionDrawing:
    """A figure of attention maps, with its numbers. It prints as a few lines.

    Attributes:
        figure: a row for each image: clean, adversary, perturbation, the teacher's map, the student's maps.
        places: indices of the drawn images among the given ones.
        distances: "teacher, clean", if there is a teacher, and "student, clean" -> (mean |difference| between these
            maps and the student's maps of the adversaries, over all attacked images; its 95 % interval).
        described: attack, eps, seed, data set, split, number of attacked images, and name of the map.
        title: the images and the ball, in one line.
    """

    figure: Figure
    places: tuple[int, ...]
    distances: Mapping[str, tuple[float, Interval]]
    described: Mapping[str, Any]
    title: str

    @property
    def name(self) -> str:
        """The name of its files, without a suffix."""
        return file_name(f"attention_{self.described['attention']}_{self.described['attack']}")

    def save(self, folder: PathLike, *, tensorboard: PathLike | None = None) -> list[pathlib.Path]:
        """Writes the figure as PNG and PDF, and its numbers as JSON beside it; returns the paths of the pictures.

        Args:
            folder: folder to write to.
            tensorboard: TensorBoard folder to write the figure to as well; None for none.
        """
        path = pathlib.Path(folder) / self.name
        pictures = save_figure(self.figure, path, tensorboard=tensorboard)
        numbers = {other: {"mean": mean, "interval": interval} for other, (mean, interval) in self.distances.items()}
        content = {**self.described, "distance_to": numbers}
        write_text(path.with_name(f"{self.name}.json"), json.dumps(content, indent=2) + "\n")
        return pictures

    def __str__(self) -> str:
        count = self.described["num_examples"]
        heading = (
            f"Mean |difference|, with 95 % interval, between the student's maps of {count} adversaries and those of"
        )
        lines = [
            f"  {other}: {mean:.4f} ({low:.4f}-{high:.4f})" for other, (mean, (low, high)) in self.distances.items()
        ]
        return "\n".join([self.title, heading, *lines])


def draw_attention(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    attack: str | Attack | AttackSequence = "pgd-20",
    eps: Annotated[Pixels | None, "Radius of the l_inf ball; the run's own if not given."] = None,
    images: Annotated[
        tuple[int, ...],
        "Indices of the images to draw, such as 0,17; if not given, one image of each class that the attack hits most.",
    ] = (),
    rows: Annotated[Count, "Without `images`, the number of classes to draw, one image of each."] = 6,
    attention: Annotated[str, Choice(ATTENTION_MAPS), "Attention map to draw."] = "agkd",
    teacher: Any = None,
    class_names: Sequence[str] | None = None,
    batch_size: Annotated[Count, "Images per step."] = 100,
    seed: Annotated[int, Range(0, LARGEST), "Seed of the random numbers."] = 0,
    jit_compile: JitCompile = "auto",
    progress: Mode = "auto",
) -> AttentionDrawing:
    """Draws a network's attention maps, clean and under attack.

        drawing = agkd_tf.visualization.draw_attention("runs/agkd_bml", agkd_tf.load_dataset("digits").test)
        print(drawing)
        drawing.save("figures")

    Args:
        model: see `agkd_tf.evaluate`; it must be a Keras network whose feature map is found.
        x, y: see `agkd_tf.evaluate`. All images are attacked, unless `images` chooses some.
        attack: one attack, as for `agkd_tf.evaluate`.
        eps: radius of the l_inf ball, in units of images in [0, 1]; None for the run's own.
        images: indices of the images to attack and draw. Without them, all images are attacked, and those that
            `most_attacked` chooses are drawn.
        rows: without `images`, the number of most attacked classes to draw, one image of each.
        attention: a name in `agkd_tf.attention.ATTENTION_MAPS`.
        teacher: a model, as for `model`, whose maps of the clean images are drawn, too; None for the teacher of the
            run or the defense, if it has one.
        class_names: a name for each class; None for the data set's.
        batch_size: images per step.
        seed: seed of the attack.
        jit_compile: compile with XLA; "auto" compiles where that is faster.
        progress: "auto", "bar", "lines" or "off".

    Raises:
        InputError: for an invalid argument, or if the attack breaks no image.
    """
    given = check_settings(draw_attention, {"eps": eps, "images": images, "rows": rows, "attention": attention})
    given |= check_settings(draw_attention, {"batch_size": batch_size, "seed": seed})
    subject = subject_of(model)
    student = classifier_of("model", subject, "features")
    guide = _teacher(model, subject, teacher, student)
    examples = examples_of(x, y, image_shape=subject.image_shape, num_classes=subject.num_classes)
    subject.check_numbering(examples, student.num_classes)
    if guide is not None and guide.num_classes != student.num_classes:
        raise InputError(
            f"`teacher` must have as many classes as the model, {student.num_classes}. Received: {guide.num_classes}"
        )
    names = names_of_classes(class_names, examples, subject)
    radius = shared_eps("model", given["eps"], [subject])
    crafting = Crafting(attack, radius, given["batch_size"], given["seed"], jit_compile, progress)
    places = list(given["images"])
    if not all(0 <= place < len(examples) for place in places):
        received = ",".join(map(str, places))
        raise InputError(f"`images` must be integers in [0, {len(examples) - 1}]. Received: {received}")
    if places:
        looked_at = examples.take(np.array(places))
        adversaries, _ = crafting.adversaries(subject, looked_at)
        shown = adversaries
    else:
        looked_at = examples
        _, clean = crafting.adversaries(subject, looked_at, attack="clean")
        adversaries, broken = crafting.adversaries(subject, looked_at)
        places = most_attacked(looked_at.labels, clean, broken, given["rows"])
        # Exactly the adversaries that fooled the model: attacking these images alone would give other random starts.
        shown = adversaries[places]
        if not places:
            raise InputError(
                f"`attack` {crafting.name} breaks none of {len(looked_at)} images: choose images, `images=(0, 1)`"
            )
    figure = attention_figure(
        student,
        examples.take(np.array(places)),
        shown,
        eps=radius,
        class_names=names,
        teacher=guide,
        attention=attention,
    )
    distances = attention_shift(
        student, looked_at, adversaries, teacher=guide, attention=attention, batch_size=given["batch_size"]
    )
    described = crafting.described(examples, len(looked_at)) | {"attention": attention}
    whose = f"the {len(examples)} given" if examples.origin is None else " ".join(examples.origin[:2])
    title = f"Images {', '.join(map(str, places))} of {whose}, {crafting.ball}"
    return AttentionDrawing(figure, tuple(places), distances, described, title)


def _teacher(model: Any, subject: Subject, teacher: Any, student: Classifier) -> Classifier | None:
    """Returns the given teacher, else that of the defense or the run; None if there is none with maps to compare."""
    if teacher is not None:
        return classifier_of("teacher", subject_of(teacher), "features")
    guide = getattr(model, "guide", None)
    if isinstance(guide, Classifier):
        return comparable(guide, student)
    if subject.workdir is None or not subject.workdir.flags.is_file():
        return None
    recipe = read_recipe(subject.workdir.path)
    if not recipe.needs_teacher:
        return None
    return comparable(Classifier(recipe.load_teacher(recipe.teacher or subject.workdir.teacher.path)), student)
