"""Times a recipe's training steps as `fit` runs them."""

import time
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from agkd_tf.benchmark.peak_memory import reset_peak_memory
from agkd_tf.benchmark.untrained import untrained_defense
from agkd_tf.compilation import JitCompile
from agkd_tf.data import ImageDataset
from agkd_tf.data.batches import training_batches
from agkd_tf.data.device_images import Resident, resolve_resident
from agkd_tf.training import Recipe
from agkd_tf.training.callbacks import StopOnNonFinite

WARM_UP = 2  # steps, the first of which traces and compiles


class TrainingBenchmark:
    """A recipe's training, ready to be timed.

    A step is everything that training does for a batch: input, augmentation, attack, teacher, forward and backward
    passes, optimizer, and the check that each term of the loss is finite. The weights of student and teacher are
    random; they cost the same as trained ones.

    Args:
        recipe: `agkd_tf.training.Recipe`.
        dataset: its `ImageDataset`.
        jit_compile: see `Defense.compile`.
        resident: see `agkd_tf.data.device_images.resolve_resident`.

    Attributes:
        defense: the recipe's compiled `Defense`.
        batches: dataset of the batches that the steps read.

    Raises:
        InputError: if the recipe cannot be built.
        NonFiniteLossError: if a term of the loss became NaN or infinite; raised by `run`, too.
    """

    def __init__(
        self,
        recipe: Recipe,
        dataset: ImageDataset,
        *,
        jit_compile: JitCompile = "auto",
        resident: Resident = "auto",
    ) -> None:
        self._recipe, self._dataset = recipe, dataset
        self._resident = resolve_resident(resident, dataset.train.images, extra=bool(recipe.extra_data))
        self._extra = recipe.load_extra(dataset)
        self.defense = untrained_defense(recipe, dataset, jit_compile=jit_compile, resident=self._resident)
        self._steps_per_epoch = recipe.steps_per_epoch(dataset)
        self.batches = self.read_batches(with_images=not self._resident)
        reset_peak_memory()
        first, *_ = self._fit(WARM_UP)
        self._compile_seconds = first

    def run(self, steps: int, batches: tf.data.Dataset | None = None) -> list[float]:
        """Returns the seconds of each of `steps` steps, which read `batches`, or the recipe's if not given."""
        # The first step waits for the input pipeline to start and is left out.
        return self._fit(1 + steps, batches)[1:]

    def facts(self) -> dict[str, Any]:
        """Returns a dict for JSON: the settings of the steps, and the seconds that the first step took."""
        return {
            "steps_per_epoch": self._steps_per_epoch,
            "epochs": self._recipe.epochs,
            "batch_size": self._recipe.batch_size,
            "xla": self.defense.use_xla,
            "resident": self._resident,
            "first_step_seconds": self._compile_seconds,
        }

    def read_batches(self, *, with_images: bool) -> tf.data.Dataset:
        """Returns the recipe's batches, starting with the first; without images if the defense keeps them itself."""
        batch_size, seed = self._recipe.batch_size, self._recipe.seed
        return training_batches(
            self._dataset.train, batch_size=batch_size, seed=seed, with_images=with_images, extra=self._extra
        )

    def _fit(self, steps: int, batches: tf.data.Dataset | None = None) -> list[float]:
        stopwatch = _Stopwatch()
        batches = self.batches if batches is None else batches
        callbacks = [StopOnNonFinite(), stopwatch]
        self.defense.fit(batches, steps_per_epoch=steps, epochs=1, callbacks=callbacks, shuffle=False, verbose=0)
        return stopwatch.seconds


class _Stopwatch(keras.callbacks.Callback):
    """Measures the time of each step, until its loss is known."""

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self.seconds: list[float] = []
        self._begin = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any]) -> None:
        float(logs["loss"])
        now = time.perf_counter()
        self.seconds.append(now - self._begin)
        self._begin = now
