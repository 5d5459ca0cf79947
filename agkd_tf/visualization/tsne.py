"""t-SNE figures of embeddings, clean and under attack, and numbers on how well the classes stay separated."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from agkd_tf.analysis import NEIGHBORS, ClassSeparation, check_separable, class_separation, embed, tsne
from agkd_tf.analysis.tsne import PERPLEXITY
from agkd_tf.attacks import Attack, AttackSequence
from agkd_tf.compilation import JitCompile
from agkd_tf.data import Examples
from agkd_tf.data.pixels import as_float
from agkd_tf.errors import InputError
from agkd_tf.evaluation import examples_of, subject_of
from agkd_tf.files import write_text
from agkd_tf.monitoring import TSNEPanel, save_figure, tsne_figure, write_projector
from agkd_tf.progress import Mode, Progress
from agkd_tf.settings import LARGEST, Count, Pixels, Range, check_settings
from agkd_tf.types import PathLike
from agkd_tf.visualization.attacked import Crafting, classifier_of, file_name, names_of_classes, shared_eps


@dataclasses.dataclass(frozen=True)
class DrawnModel:
    """The results of one model.

    Attributes:
        path: its path, or its name.
        separation: its `ClassSeparation`.
        panels: attacked class -> its `TSNEPanel`.
        clean: float32 [N, K], embeddings of all given images.
        adversarial: float32 [N, K], embeddings of their adversaries.
        adversaries: float32 [M, H, W, C] in [0, 1], the adversaries of the clean images that are drawn.
    """

    path: str
    separation: ClassSeparation
    panels: Mapping[int, TSNEPanel]
    clean: np.ndarray
    adversarial: np.ndarray
    adversaries: np.ndarray


@dataclasses.dataclass(frozen=True)
class TSNEDrawing:
    """t-SNE figures of embeddings, with their numbers. It prints as a table.

    Attributes:
        figures: a row for each attacked class, a column for each model; several figures if there are many classes.
        models: title -> `DrawnModel`.
        described: attack, eps, seed, data set, split, number of images, and number of neighbors.
        title: the images and the ball, in one line.
        drawn: the clean images that are drawn, `Examples`.
        drawn_places: int [M], indices of the drawn clean images among the given ones.
        class_names: a name for each class.
    """

    figures: tuple[Figure, ...]
    models: Mapping[str, DrawnModel]
    described: Mapping[str, Any]
    title: str
    drawn: Examples
    drawn_places: np.ndarray
    class_names: tuple[str, ...]

    def save(self, folder: PathLike) -> list[pathlib.Path]:
        """Writes figures, numbers and embeddings; returns the paths of the pictures.

        Figures are written as PNG and PDF, and to TensorBoard in `folder/tensorboard`. Numbers are written as JSON
        beside the figures. Each model's embeddings are written for TensorBoard's projector, in a subfolder of
        `folder/tensorboard` named by the model's title.

        Args:
            folder: folder to write to.
        """
        folder = pathlib.Path(folder)
        tensorboard, attack = folder / "tensorboard", self.described["attack"]
        for title, model in self.models.items():
            self._project(tensorboard / file_name(f"{title}_{attack}"), model)
        name, pictures = file_name(f"tsne_{attack}"), []
        for number, figure in enumerate(self.figures, 1):
            suffix = f"_{number}" if len(self.figures) > 1 else ""
            pictures += save_figure(figure, folder / f"{name}{suffix}", tensorboard=tensorboard)
        numbers = {title: {"workdir": each.path} | each.separation._asdict() for title, each in self.models.items()}
        write_text(folder / f"{name}.json", json.dumps({**self.described, "models": numbers}, indent=2) + "\n")
        return pictures

    def _project(self, folder: pathlib.Path, model: DrawnModel) -> None:
        """Writes the embeddings of the drawn images, clean and attacked, for TensorBoard's projector."""
        places = self.drawn_places
        names = [self.class_names[label] for label in self.drawn.labels]
        kinds = [f"{kind} {name}" for kind in ("clean", "adversary") for name in names]
        images = np.concatenate([as_float(tf.constant(self.drawn.images)), model.adversaries])
        metadata = {"kind and class": kinds, "class": names * 2, "place": [str(place) for place in places] * 2}
        embeddings = np.concatenate([model.clean[places], model.adversarial[places]])
        write_projector(folder, "embeddings", embeddings, images, metadata)

    def __str__(self) -> str:
        width = max(len("model"), *map(len, self.models))
        heading = f"of the {self.described['neighbors']} nearest, true class % ({self.described['attack']})"
        lines = [f"{'model':<{width}}  {heading}  silhouette of clean classes"]
        for title, model in self.models.items():
            found = model.separation
            low, high = (100 * each for each in found.purity_interval)
            purity = f"{100 * found.purity:.1f} ({low:.1f}-{high:.1f})"
            low, high = found.silhouette_interval
            lines.append(
                f"{title:<{width}}  {purity:>{len(heading)}}  {found.silhouette:>8.3f} ({low:.3f} to {high:.3f})"
            )
        return "\n".join([f"{self.title}, mean and 95 % interval", *lines])


def draw_tsne(
    models: Mapping[str, Any],
    x: Any,
    y: Any = None,
    *,
    attack: str | Attack | AttackSequence = "pgd-20",
    eps: Annotated[Pixels | None, "Radius of the l_inf ball; the runs' own if not given."] = None,
    classes: Annotated[
        tuple[int, ...], "Classes whose adversaries to draw, as numbers such as 0,3; all if not given."
    ] = (),
    rows_per_figure: Annotated[Count, "Attacked classes per figure, a row each."] = 5,
    clean_per_class: Annotated[Count, "Draw the first N clean images of each class."] = 50,
    adversaries_per_class: Annotated[Count, "Draw the first N adversaries of the attacked class."] = 50,
    neighbors: Annotated[Count, "Number of nearest clean images to compare each adversary with."] = NEIGHBORS,
    class_names: Sequence[str] | None = None,
    batch_size: Annotated[Count, "Images per step."] = 100,
    seed: Annotated[int, Range(0, LARGEST), "Seed of the random numbers."] = 0,
    jit_compile: JitCompile = "auto",
    progress: Mode = "auto",
) -> TSNEDrawing:
    """Draws networks' embeddings with t-SNE, clean and under attack.

        models = {"undefended": "runs/undefended", "AGKD-BML": "runs/agkd_bml"}
        drawing = agkd_tf.visualization.draw_tsne(models, agkd_tf.load_dataset("digits").test)
        print(drawing)
        drawing.save("figures")

    Args:
        models: title -> model; see `agkd_tf.evaluate`. They must be Keras networks whose embeddings are found.
        x, y: see `agkd_tf.evaluate`. All images are attacked, and the numbers are over all of them.
        attack: one attack, as for `agkd_tf.evaluate`.
        eps: radius of the l_inf ball, in units of images in [0, 1]; None for the runs' own.
        classes: numbers of the classes whose adversaries are drawn; empty for all.
        rows_per_figure: number of attacked classes per figure.
        clean_per_class: draw the first N clean images of each class.
        adversaries_per_class: draw the first N adversaries of the attacked class.
        neighbors: number of nearest clean images per adversary; see `class_separation`.
        class_names: a name for each class; None for the data set's.
        batch_size: images per step.
        seed: seed of the attack and of t-SNE.
        jit_compile: compile with XLA; "auto" compiles where that is faster.
        progress: "auto", "bar", "lines" or "off".

    Raises:
        InputError: for an invalid argument.
    """
    sizes = {"clean_per_class": clean_per_class, "adversaries_per_class": adversaries_per_class}
    sizes |= {"rows_per_figure": rows_per_figure, "neighbors": neighbors, "batch_size": batch_size}
    given = check_settings(draw_tsne, {"eps": eps, "classes": classes, "seed": seed, **sizes})
    if not models or not isinstance(models, Mapping):
        raise InputError(f"`models` must be a dict of title -> model with at least one entry. Received: {models!r}")
    subjects = {str(title): subject_of(model) for title, model in models.items()}
    first = next(iter(subjects.values()))
    examples = examples_of(x, y, image_shape=first.image_shape, num_classes=first.num_classes)
    if len({file_name(title) for title in subjects}) < len(models):
        raise InputError(f"`models` must have titles that also differ as file names. Received: {list(models)}")
    own = next((each.class_names for each in subjects.values() if each.class_names is not None), None)
    known = own if examples.origin is None else examples.origin.class_names
    subjects = {title: each.numbered_by("models", known) for title, each in subjects.items()}
    classifiers = {title: classifier_of("models", each, "embedding") for title, each in subjects.items()}
    for title, each in subjects.items():
        each.check_numbering(examples, classifiers[title].num_classes)
    names = names_of_classes(class_names, examples, first)
    radius = shared_eps("models", given["eps"], list(subjects.values()))
    crafting = Crafting(attack, radius, given["batch_size"], given["seed"], jit_compile, progress)
    attacked = _attacked_classes(given["classes"], examples, len(names))
    check_separable(examples.labels, neighbors=given["neighbors"], name="x")
    by_class = {label: np.flatnonzero(examples.labels == label) for label in range(len(names))}
    drawn_places = np.concatenate([places[: given["clean_per_class"]] for places in by_class.values()])
    shown = {label: by_class[label][: given["adversaries_per_class"]] for label in attacked}
    fewest = len(drawn_places) + min(map(len, shown.values()))
    if fewest <= PERPLEXITY:  # before the attack, which takes long
        raise InputError(
            f"t-SNE needs more than {PERPLEXITY} points, clean and adversarial, for each attacked class. Received: "
            f"{fewest}: give more images, or a larger `clean_per_class` or `adversaries_per_class`"
        )
    found, watch = {}, Progress(progress)
    for title, subject in subjects.items():
        watch.say(f"{title}: {len(examples)} images under {crafting.name}")
        adversaries, _ = crafting.adversaries(subject, examples)
        clean, moved = (
            embed(classifiers[title], images, batch_size=given["batch_size"])
            for images in (examples.images, adversaries)
        )
        separation = class_separation(clean, moved, examples.labels, neighbors=given["neighbors"])
        panels, show = {}, watch.counting("t-SNE", "fit")
        for count, label in enumerate(attacked):
            points = tsne(np.concatenate([clean[drawn_places], moved[shown[label]]]), seed=given["seed"])
            split = len(drawn_places)
            panels[label] = TSNEPanel(points[:split], examples.labels[drawn_places], points[split:])
            if show:
                show(count + 1, len(attacked))
        found[title] = DrawnModel(subject.path, separation, panels, clean, moved, adversaries[drawn_places])
    figures = []
    for begin in range(0, len(attacked), given["rows_per_figure"]):
        labels = attacked[begin : begin + given["rows_per_figure"]]
        rows = {label: {title: each.panels[label] for title, each in found.items()} for label in labels}
        figures.append(tsne_figure(rows, class_names=names, attack=crafting.name))
    described = crafting.described(examples, len(examples)) | {"neighbors": given["neighbors"]}
    split_name = "" if examples.origin is None else f"{examples.origin.split} "
    title = f"{len(examples)} {split_name}images, {crafting.ball}"
    drawn = examples.take(drawn_places)
    return TSNEDrawing(tuple(figures), found, described, title, drawn, drawn_places, names)


def _attacked_classes(given: Sequence[int], examples: Examples, count: int) -> list[int]:
    """Returns the numbers of the attacked classes, each of which has at least one image.

    Raises:
        InputError: for a number that is not a class, or a class without an image.
    """
    if not all(0 <= label < count for label in given):
        received = ",".join(map(str, given))
        raise InputError(f"`classes` must be integers in [0, {count - 1}]. Received: {received}")
    attacked = list(given) or list(range(count))
    present = set(examples.labels.tolist())
    for label in attacked:
        if label not in present:
            raise InputError(f"`classes`: none of the {len(examples)} images is of class {label}")
    return attacked
