"""Where the time of a training step goes."""

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
    """A `TrainingBenchmark` that also tells the parts of its step."""

    def breakdown(self, steps: int) -> dict[str, float]:
        """Returns part of a step -> median seconds over `steps` turns; see `Breakdown`.

        `waiting` is what steps that read their batches take longer than steps that get one batch again and again.

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
    """The parts of a step, each compiled by itself and timed on the same batch.

    `attack` is all that a defense makes without gradient, its teacher's pass apart; `student` the training-mode
    passes forward and back; `optimizer` the weights' update. Compiled apart, the parts need not sum up to a step.

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
        # Each gives the number to wait for.
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
        """Returns part -> median seconds over `steps` turns; the parts take turns."""
        taken: dict[str, list[float]] = {name: [] for name in self._parts}
        for _, (name, part) in itertools.product(range(steps), self._parts.items()):
            begin = time.perf_counter()
            part().numpy()  # waits until it is there
            taken[name].append(time.perf_counter() - begin)
        medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
        if "teacher" in medians:
            medians["attack"] = max(0.0, medians["attack"] - medians["teacher"])
        return medians


def compiled_with_number(function: Callable[..., Any], jit_compile: bool) -> Callable[..., tuple[Any, tf.Tensor]]:
    """Returns a function that gives what `function` does, and one number that is not there before all of it is.

    All results are given, so that none is left out or computed in part; to read one number takes less time than to
    read one of each.
    """

    def with_number(*arguments: Any) -> tuple[Any, tf.Tensor]:
        results = function(*arguments)
        return results, tf.add_n([tf.cast(_first(tensor), tf.float32) for tensor in tf.nest.flatten(results)])

    return tf.function(with_number, jit_compile=jit_compile, autograph=False)


def _first(tensor: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tensor, [-1])[0]
