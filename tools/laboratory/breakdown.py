"""Measures how long each part of a training step takes."""

import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from agkd_tf.benchmark import TrainingBenchmark
from agkd_tf.defenses import Defense
from agkd_tf.randomness import step_seed

WAITING_TURNS = 3


class BreakdownBenchmark(TrainingBenchmark):
    """A `TrainingBenchmark` that also times the parts of its step."""

    def breakdown(self, steps: int) -> dict[str, float]:
        """Returns a dict of part of a step -> median seconds over `steps` runs; see `Breakdown`.

        `waiting` is how much longer a step takes when it reads its batches than when it gets the same batch every time.

        Raises:
            NonFiniteLossError: if a term of the loss became NaN or infinite.
        """
        same = self.batches.take(1).cache().repeat()
        reading: list[float] = []
        repeating: list[float] = []
        for _ in range(WAITING_TURNS):
            for seconds, batches in ((reading, self.batches), (repeating, same)):
                seconds += self.run(steps, batches)
        waiting = max(0.0, statistics.median(reading) - statistics.median(repeating))
        batch = next(iter(self.read_batches(with_images=True)))
        return {"waiting": waiting} | Breakdown(self.defense, batch).run(steps)


class Breakdown:
    """The parts of a training step, each compiled separately and timed on the same batch.

    `attack` is everything that the defense computes without a gradient, except the teacher's pass; `teacher` is that
    pass; `student` is the forward and backward pass in training mode; `optimizer` is the update of the weights. Since
    the parts are compiled separately, they need not add up to a whole step.

    Args:
        defense: a compiled `Defense`.
        batch: dict with `image`, `label` and `index`.
    """

    def __init__(self, defense: Defense, batch: dict[str, tf.Tensor]) -> None:
        images, labels = batch["image"], batch["label"]
        seed, step = step_seed(defense.seed, 0), defense.training_step
        memory = step.remembered(batch["index"])

        craft, differentiate = (
            compiled_with_number(each, step.jit_compile) for each in (step.craft, step.differentiate)
        )
        crafted, _ = craft(images, labels, seed, memory)
        (gradients, _), _ = differentiate(crafted, labels)

        def update() -> list[tf.Tensor]:
            step.apply(gradients)
            return [_first(variable.value) for variable in defense.student.trainable_variables]

        apply = compiled_with_number(update, False)
        # Each returns a number that is ready once the part is done.
        self._parts = {
            "attack": lambda: craft(images, labels, seed, memory)[1],
            "student": lambda: differentiate(crafted, labels)[1],
            "optimizer": lambda: apply()[1],
        }
        if defense.guide is not None:
            teach = compiled_with_number(defense.teach, step.jit_compile)
            self._parts["teacher"] = lambda: teach(crafted)[1]
        self.run(1)

    def run(self, steps: int) -> dict[str, float]:
        """Returns a dict of part -> median seconds over `steps` runs; the parts take turns."""
        taken: dict[str, list[float]] = {name: [] for name in self._parts}
        for _, (name, part) in itertools.product(range(steps), self._parts.items()):
            begin = time.perf_counter()
            part().numpy()  # waits until the part is done
            taken[name].append(time.perf_counter() - begin)
        medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
        if "teacher" in medians:
            medians["attack"] = max(0.0, medians["attack"] - medians["teacher"])
        return medians


def compiled_with_number(function: Callable[..., Any], jit_compile: bool) -> Callable[..., tuple[Any, tf.Tensor]]:
    """Compiles a function so that it returns (its results, one number that is ready only once all of them are).

    All results are returned, so that the compiler neither drops one nor computes only a part of it. Reading the one
    number takes less time than reading a number of each result.
    """

    def with_number(*arguments: Any) -> tuple[Any, tf.Tensor]:
        results = function(*arguments)
        return results, tf.add_n([tf.cast(_first(tensor), tf.float32) for tensor in tf.nest.flatten(results)])

    return tf.function(with_number, jit_compile=jit_compile, autograph=False)


def _first(tensor: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tensor, [-1])[0]
