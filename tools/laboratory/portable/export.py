"""Writes a recipe as a portable folder: its programs, the arrays that they begin with, and a script that runs them."""

import dataclasses
import gzip
import hashlib
import json
import pathlib
import shutil
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from agkd_tf.attacks import AttackSequence, Ball, parse_attack
from agkd_tf.data import Examples, ImageDataset
from agkd_tf.defenses import Defense
from agkd_tf.defenses.pure_step import PureStep
from agkd_tf.errors import InputError
from agkd_tf.files import new_folder, write_text
from agkd_tf.models import Classifier
from agkd_tf.models.storage import is_file_of_keras
from agkd_tf.training import Recipe
from agkd_tf.training.recipe_file import write_recipe
from agkd_tf.training.run import VALIDATION_BATCH
from agkd_tf.version import __version__
from tools.laboratory.portable import run
from tools.laboratory.portable.programs import attack_program, place_of, step_program, validation_program
from tools.laboratory.stablehlo import Platform, StableHLO

SMALL = 1000  # entries: smaller arrays are always written as they are


@dataclasses.dataclass(frozen=True)
class PortableFolder:
    """The folder that an export wrote.

    Attributes:
        path: the folder.
        programs: name of a program -> bytes of its text.
        array_bytes: bytes of all arrays that were written.
    """

    path: pathlib.Path
    programs: dict[str, int]
    array_bytes: int


def export_portable(
    recipe: Recipe,
    dataset: ImageDataset,
    output: pathlib.Path,
    *,
    attacks: Sequence[str] = ("clean", "pgd-20"),
    batch_size: int = 100,
    seed: int = 0,
    draw_weights: bool = False,
    platform: Platform = "GPU",
) -> PortableFolder:
    """Writes a recipe as a portable folder, which `run` trains and evaluates with only JAX and NumPy.

    Args:
        recipe: the recipe to train; its teacher is trained first if it names none.
        dataset: the data set of the recipe.
        output: the folder, which must be missing or empty.
        attacks: names of attacks that the trained student can be evaluated with, in the recipe's ball.
        batch_size: test images per batch of an evaluation.
        seed: seed of the attacks' random numbers.
        draw_weights: leave out the initial weights; `run` draws others with the same mean and deviation. The result
            then differs from what `fit` would have trained, but the folder is smaller by the size of a network.
        platform: kind of device that the programs are for.

    Raises:
        InputError: if the recipe or an attack is invalid or has no portable program, or if the folder is not empty.
    """
    if recipe.ema_bn != "copied":
        raise InputError("a portable program cannot estimate BN statistics: give `ema_bn='copied'`")
    recipe.check_teacher()
    if recipe.on_overfitting != "warn":
        raise InputError(
            f"`on_overfitting={recipe.on_overfitting!r}`: a portable training does not watch for it: leave it out"
        )
    ball = Ball(recipe.hyperparameters["norm"], recipe.hyperparameters["eps"])
    sequences = [parse_attack(name, eps=ball.eps, norm=ball.norm, num_classes=dataset.num_classes) for name in attacks]
    with new_folder("output", output) as folder:
        export = _Export(folder, platform)
        splits = {name: export.split(dataset.split(name)) for name in ("train", "validation", "test")}
        stages, teacher, keeps = [], None, recipe.trains_teacher
        if keeps:
            first = recipe.for_teacher()
            defense = first.build_defense(dataset, jit_compile=False, resident=True)
            drawn = draw_weights and _begins_fresh(first)
            stages.append(export.stage("teacher", first, defense, dataset, draw_weights=drawn))
            teacher = defense.student
        elif recipe.needs_teacher:
            teacher = recipe.load_teacher(str(recipe.teacher))
        defense = recipe.build_defense(dataset, teacher=teacher, jit_compile=False, resident=True)
        begins = draw_weights and _begins_fresh(recipe)
        trained_before = teacher if keeps else None
        stages.append(export.stage("student", recipe, defense, dataset, teacher=trained_before, draw_weights=begins))
        evaluation = export.evaluation(defense.classifier, sequences, ball, dataset, batch_size=batch_size, seed=seed)
        write_recipe(folder / "recipe.flags", recipe)
        shutil.copy(run.__file__, folder / "run.py")
        description = {
            "format": run.FORMAT,
            "agkd_tf": __version__,
            "platform": platform,
            "recipe_sha256": hashlib.sha256((folder / "recipe.flags").read_bytes()).hexdigest(),
            "splits": splits,
            "stages": stages,
            "evaluation": evaluation,
            "programs": export.digests,
        }
        write_text(folder / "portable.json", json.dumps(description, indent=1) + "\n")
    return PortableFolder(output, export.sizes, export.array_bytes)


class _Export:
    """Writes arrays and programs, and returns the entries that describe them."""

    def __init__(self, output: pathlib.Path, platform: Platform) -> None:
        self._output, self._platform = output, platform
        self.digests: dict[str, str] = {}
        self.sizes: dict[str, int] = {}
        self.array_bytes = 0
        for name in ("arrays", "programs"):
            (output / name).mkdir(parents=True, exist_ok=True)

    def array(self, value: Any, *, drawn: Sequence[int] | None = None) -> dict[str, Any]:
        """Writes an array and returns its entry. Equal arrays are written once, and constant ones not at all.

        Args:
            value: the array.
            drawn: seed to draw similar numbers from instead of writing these; None to write them.
        """
        array = np.ascontiguousarray(value)
        entry: dict[str, Any] = {"shape": list(np.shape(value)), "dtype": array.dtype.name}
        if array.size and array.dtype.kind in "fiu" and (array == array.flat[0]).all():
            return entry | {"fill": array.flat[0].item()}
        if drawn is not None and array.dtype == np.float32 and array.size >= SMALL:
            return entry | {"mean": float(array.mean()), "std": float(array.std()), "seed": list(drawn)}
        content = array.tobytes()
        digest = hashlib.sha256(content).hexdigest()
        path = self._output / "arrays" / digest
        if not path.exists():
            path.write_bytes(content)
            self.array_bytes += len(content)
        return entry | {"sha256": digest}

    def split(self, examples: Examples) -> dict[str, Any]:
        """Writes a split's images and labels; returns their entries."""
        return {
            "images": self.array(np.asarray(examples.images)),
            "labels": self.array(examples.labels),
            "digest": examples.digest().hex(),
        }

    def program(self, name: str, program: StableHLO) -> dict[str, Any]:
        """Writes a program; returns its entry."""
        content = program.text.encode()
        # Without a time stamp in the header, equal programs give equal files.
        (self._output / "programs" / f"{name}.mlir.gz").write_bytes(gzip.compress(content, mtime=0))
        self.digests[name], self.sizes[name] = hashlib.sha256(content).hexdigest(), len(content)
        return {"program": name, "constants": [self.array(each) for each in program.constants]}

    def stage(
        self,
        name: str,
        recipe: Recipe,
        defense: Defense,
        dataset: ImageDataset,
        *,
        teacher: keras.Model | None = None,
        draw_weights: bool,
    ) -> dict[str, Any]:
        """Writes the programs and arrays of a training; returns its entry.

        Args:
            name: teacher or student.
            recipe: the recipe that it trains.
            defense: the defense of that recipe.
            dataset: its data set.
            teacher: the network that the previous stage trains, if there is one.
            draw_weights: as in `export_portable`.
        """
        steps = recipe.steps_per_epoch(dataset)
        step, total = PureStep(defense), steps * recipe.epochs
        program, scalars = step_program(
            defense, batch_size=recipe.batch_size, total_steps=total, platform=self._platform
        )
        size = min(VALIDATION_BATCH, len(dataset.validation))
        validation, names = validation_program(defense, batch_size=size, platform=self._platform)
        places = {id(variable): place for place, variable in enumerate(teacher.variables if teacher else ())}
        frozen: list[dict[str, Any]] = []
        stores = {id(variable) for store in (defense.resident, defense.pool) if store for variable in store.variables}
        for variable in step.frozen:
            if id(variable) in stores:
                frozen.append({"images": "train"})
            elif id(variable) in places:
                frozen.append({"teacher": places[id(variable)]})
            else:
                frozen.append(self.array(_numpy(variable)))
        from_teacher = teacher is not None and bool(recipe.init_from_teacher)
        values = [_numpy(variable) for variable in step.variables]
        count = len(defense.student.variables)
        if from_teacher:  # the weights will be the teacher's, once it is trained
            values[:count] = [np.zeros_like(value) for value in values[:count]]
        return {
            "name": name,
            "state": [
                {"name": variable.path} | self.array(value, drawn=(recipe.seed, place) if draw_weights else None)
                for place, (variable, value) in enumerate(zip(step.variables, values, strict=True))
            ],
            "from_teacher": from_teacher,
            "frozen": frozen,
            "student": [place_of(variable, step.variables) for variable in step.judged],
            "learning_rates": self.array(learning_rates(step.sgd, total)),
            "step": self.program(f"{name}_step", program) | {"scalars": scalars},
            "validation": self.program(f"{name}_validation", validation) | {"names": names, "batch_size": size},
            "batch_size": recipe.batch_size,
            "steps_per_epoch": steps,
            "epochs": recipe.epochs,
            "seed": recipe.seed,
            "select_best": recipe.select_best,
        }

    def evaluation(
        self,
        classifier: Classifier,
        sequences: Iterable[AttackSequence],
        ball: Ball,
        dataset: ImageDataset,
        *,
        batch_size: int,
        seed: int,
    ) -> dict[str, Any]:
        """Writes the programs of an evaluation's attacks; returns its entry."""
        parts: dict[Any, int] = {}
        entries, stages = [], {}
        for sequence in sequences:
            for part in sequence.attacks:
                if part not in parts:
                    parts[part] = len(parts)
                    program = attack_program(
                        classifier,
                        part,
                        ball,
                        image_shape=dataset.image_shape,
                        batch_size=batch_size,
                        seed=seed,
                        platform=self._platform,
                    )
                    entries.append({"name": part.name} | self.program(f"attack_{parts[part]}", program))
            stages[sequence.name] = [[parts[part], variant] for part, variant in sequence.stages]
        return {
            "eps": ball.eps,
            "norm": ball.norm,
            "seed": seed,
            "batch_size": batch_size,
            "attacks": stages,
            "parts": entries,
        }


def _begins_fresh(recipe: Recipe) -> bool:
    """Returns whether a training begins with random weights, which others like them can replace."""
    given = is_file_of_keras(recipe.model) and not recipe.reinitialize
    return not (given or recipe.init_from or recipe.init_from_teacher)


def _numpy(variable: keras.Variable) -> np.ndarray:
    return np.asarray(variable.numpy())


def learning_rates(optimizer: keras.optimizers.SGD, total: int) -> np.ndarray:
    """Returns the learning rate of each step, float32 [total]."""
    rate = optimizer.get_config()["learning_rate"]
    if not isinstance(rate, dict):
        return np.full(total, rate, np.float32)
    schedule = keras.optimizers.schedules.deserialize(rate)
    return tf.function(lambda: tf.map_fn(schedule, tf.range(total), fn_output_signature=tf.float32))().numpy()
