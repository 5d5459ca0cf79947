"""Checkpoints of a training: everything a resumed run needs to equal an uninterrupted one."""

import math
import os
import pathlib
import re
import shutil
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import keras
import numpy as np
import tensorflow as tf

from agkd_tf.defenses.defense import Defense
from agkd_tf.distribution import is_chief
from agkd_tf.errors import InputError
from agkd_tf.training.interruption import InterruptedTrainingError, Interruption

# Name -> score of a finished epoch from its logs. The run keeps the student with the highest score, the first if equal.
SELECT_BEST: dict[str, Callable[[Mapping[str, float]], float]] = {
    "last": lambda logs: logs["epoch"],
    "robust": lambda logs: logs["val_robust_accuracy"],
}

# What must not change during a run -> how messages call a change.
ORIGINS = {
    "images": "other images or labels",
    "teacher": "another teacher",
    "extra_data": "other auxiliary images or labels (`extra_data`)",
}

# Errors that do not mean that the file itself is damaged.
UNREADABLE = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.PermissionDeniedError,
    tf.errors.ResourceExhaustedError,
    tf.errors.UnavailableError,
)


class Checkpoints(keras.callbacks.Callback):
    """Saves a defense after each epoch and during epochs, chooses the student to keep, and restores checkpoints.

    Randomness needs no state of its own: batches, augmentation and attacks are functions of the seed
    and of the step, which is saved. During an epoch, the running means of its metrics are saved, too.

    Args:
        folder: folder of the checkpoints.
        defense: a compiled `Defense`.
        steps: training steps per epoch.
        epochs: number of epochs of the whole training.
        select_best: a name of `SELECT_BEST`: which epoch's student is chosen.
        origins: digests, bytes [32], by names of `ORIGINS`; always the same names for a run.
        choose: callable without arguments, called when the current student becomes the chosen one, before
            the checkpoint that records this: a crash in between repeats the choice instead of losing it.
        keep: number of checkpoints to keep.
        may_choose: called without arguments at the end of an epoch: whether its student may become the chosen one.
        every_minutes: minutes between checkpoints within an epoch; 0 for none.
        interruption: `Interruption`; when its signal comes, a checkpoint is saved and the training ends. None to
            handle no signals.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        defense: Defense,
        *,
        steps: int,
        epochs: int,
        select_best: str,
        origins: Mapping[str, bytes],
        choose: Callable[[], None],
        keep: int = 2,
        may_choose: Callable[[], bool] = lambda: True,
        every_minutes: float = 0.0,
        interruption: Interruption | None = None,
    ) -> None:
        super().__init__()
        self._defense, self._steps, self._epochs = defense, steps, epochs
        self._epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._chosen_epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._best = tf.Variable(-math.inf, dtype=tf.float64, trainable=False)
        self._origins = {name: np.frombuffer(digest, np.int64) for name, digest in origins.items()}
        self._origins_then = {name: tf.Variable(digest, trainable=False) for name, digest in self._origins.items()}
        self._steps_then = tf.Variable(steps, dtype=tf.int64, trainable=False)
        # The means of a defense's metrics are variables of the replicas, so their values are saved in other variables.
        self._means = {
            name: tf.Variable(np.zeros((2,)), dtype=tf.float64, trainable=False) for name in defense.trackers
        }
        state = tf.train.Checkpoint(
            epoch=self._epoch,
            chosen_epoch=self._chosen_epoch,
            best=self._best,
            origins=tf.train.Checkpoint(**self._origins_then),
            steps=self._steps_then,
            means=tf.train.Checkpoint(**self._means),
            **defense.checkpointed(),
        )
        # All of several workers have to create it now, though only one of them will save.
        self._save_counter = state.save_counter
        self._state, self._folder = state, pathlib.Path(folder)
        self._manager: tf.train.CheckpointManager | None = None
        self._score, self._choose, self._keep = SELECT_BEST[select_best], choose, keep
        self._every, self._interruption = 60 * every_minutes, interruption
        self._saved_at, self._may_choose = time.monotonic(), may_choose

    @property
    def chosen_epoch(self) -> int:
        """Number of the epoch, from 1, whose student was chosen; 0 if none was chosen yet."""
        return int(self._chosen_epoch.numpy())

    @property
    def latest(self) -> str | None:
        """Path of the newest checkpoint, or None."""
        return next(iter(checkpoint_paths(self._folder)), None)

    @property
    def finished_epochs(self) -> int:
        """Number of finished epochs."""
        return int(self._epoch.numpy())

    @property
    def begun_steps(self) -> int:
        """Number of steps done in the unfinished epoch."""
        return int(self._defense.step.numpy()) - self.finished_epochs * self._steps

    def restore(self) -> list[str]:
        """Restores the newest undamaged checkpoint.

        Returns:
            A line for each newer checkpoint that is skipped because it is damaged or missing.

        Raises:
            InputError: if all checkpoints are damaged or missing, or if they are of another model, other images,
                another teacher, or epochs of another length.
        """
        paths = checkpoint_paths(self._folder)
        passed: list[str] = []
        others: list[tuple[str, Exception]] = []
        listed = _newest_listed(self._folder)
        if listed and listed not in paths:
            passed.append(f"checkpoint {listed} is missing")
        if listed == "" and not paths:
            passed.append("the list of checkpoints is damaged")
        for place, path in enumerate(paths):
            try:
                self._state.restore(path).assert_consumed()
            except UNREADABLE as error:  # also for an undamaged one
                raise InputError(f"checkpoint {path} cannot be read now: {str(error).splitlines()[0]}") from error
            except (IndexError, UnicodeDecodeError, tf.errors.OpError) as error:
                passed.append(f"checkpoint {path} is damaged: {str(error).splitlines()[0]}")
                continue
            except (AssertionError, ValueError) as error:
                # Damage in a name or a shape looks like this, too; then an older checkpoint fits.
                others.append((path, error))
                passed.append(f"checkpoint {path} is damaged: {str(error).splitlines()[0]}")
                continue
            for name, digest in self._origins.items():
                if not np.array_equal(self._origins_then[name].numpy(), digest):
                    raise InputError(
                        f"checkpoint {path} is of a training with {ORIGINS[name]} than now: give what it was trained "
                        "with, or choose another `workdir`"
                    )
            steps = int(self._steps_then.numpy())
            if steps != self._steps:
                raise InputError(
                    f"checkpoint {path} is of a training with {steps} steps per epoch; now there are {self._steps}: "
                    "give its original `batch_size`, or choose another `workdir`"
                )
            if is_chief():  # the other workers do not write
                for bad in paths[:place]:
                    _set_aside(bad)
                self._manage(paths[place:])
            return passed
        if others:
            path, mismatch = others[0]
            raise InputError(
                f"checkpoint {path} is of another network, class count or version: choose another "
                f"`workdir`, or train with those that made it. {str(mismatch).splitlines()[0]}"
            ) from mismatch
        if passed:
            raise InputError(
                f"no checkpoint in {self._folder} can be read: put one back, or choose another `workdir`. "
                + "; ".join(passed)
            )
        return []

    def _manage(self, paths: list[str]) -> tf.train.CheckpointManager:
        """Returns the manager, which includes `paths`, the newest first, in the number of checkpoints to keep."""
        if paths:
            times = [pathlib.Path(f"{path}.index").stat().st_mtime for path in paths]
            tf.compat.v1.train.update_checkpoint_state(
                str(self._folder),
                paths[0],
                all_model_checkpoint_paths=paths[::-1],
                all_model_checkpoint_timestamps=times[::-1],
                last_preserved_timestamp=0.0,
            )
        self._manager = tf.train.CheckpointManager(self._state, str(self._folder), max_to_keep=self._keep)
        return self._manager

    def remove_unfinished(self) -> None:
        """Removes incomplete files of processes that were killed while saving."""
        for folder in self._folder.glob("ckpt-*_temp"):
            shutil.rmtree(folder, ignore_errors=True)

    def save(self) -> None:
        """Saves a checkpoint of the training's current state."""
        if self.begun_steps:
            for name, variable in self._means.items():
                variable.assign([float(value.numpy()) for value in self._defense.trackers[name].variables])
        manager = self._manager or self._manage(checkpoint_paths(self._folder))
        manager.save(checkpoint_number=int(self._defense.step.numpy()))
        self._saved_at = time.monotonic()

    def adopt(self, *, epochs: int, chosen_epoch: int, best: float) -> None:
        """Saves a checkpoint of the training's current state after epochs that were trained elsewhere.

        Args:
            epochs: number of finished epochs.
            chosen_epoch: number of the epoch, from 1, whose student was chosen.
            best: that epoch's score (see `SELECT_BEST`).
        """
        self._epoch.assign(epochs)
        self._chosen_epoch.assign(chosen_epoch)
        self._best.assign(best)
        self.save()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._begun_before = self.begun_steps
        if self._begun_before:
            # Keras has just set them to zero.
            for name, variable in self._means.items():
                for mean, value in zip(self._defense.trackers[name].variables, variable.numpy(), strict=True):
                    mean.assign(value)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self._begun_before + batch + 1 == self._steps:
            return  # the epoch ends here, which saves everything
        signal = self._interruption and self._interruption.name
        if signal or (self._every and time.monotonic() - self._saved_at >= self._every):
            self.save()
        if signal:
            _stop(signal, f"step {self.begun_steps} of epoch {self.finished_epochs + 1}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        score = self._score({**(logs or {}), "epoch": epoch})
        if score > float(self._best.numpy()) and self._may_choose():
            self._choose()
            self._best.assign(score)
            self._chosen_epoch.assign(epoch + 1)
        self._epoch.assign(epoch + 1)
        self.save()
        signal = self._interruption and self._interruption.name
        if signal and epoch + 1 < self._epochs:
            _stop(signal, f"epoch {epoch + 1}")


def _stop(signal: str, place: str) -> NoReturn:
    raise InterruptedTrainingError(f"stopped by {signal} after {place}; the training is saved there")


def check_room(folder: str | os.PathLike[str], defense: Defense, *, keep: int) -> None:
    """Checks that the disk has enough space for a training's checkpoints and its student's file.

    Args:
        folder: current or future folder of the checkpoints.
        defense: the compiled `Defense`.
        keep: number of checkpoints to keep.

    Raises:
        InputError: if it does not.
    """
    folder = pathlib.Path(folder)
    state = [*defense.student.variables, *defense.optimizer.variables, *defense.memory.values()]
    size = sum(4 * math.prod(variable.shape) for variable in state) + 4 * defense.student.count_params()
    # A new checkpoint is written before an old one is deleted.
    wanted = (keep + 1 - min(keep, len(checkpoint_paths(folder)))) * size
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < wanted:
        raise InputError(
            f"`workdir` {there} has {free / 2**20:,.0f} MiB left on its disk; the checkpoints need "
            f"{wanted / 2**20:,.0f} MiB"
        )


def checkpoint_paths(folder: str | os.PathLike[str]) -> list[str]:
    """Returns the paths of a folder's finished checkpoints, the newest first."""
    numbered = {}
    for index in pathlib.Path(folder).glob("ckpt-*.index"):
        number = re.fullmatch(r"ckpt-(\d+)", index.stem)
        if number:  # its index is the last part that is written
            numbered[int(number[1])] = str(index.with_suffix(""))
    return [path for _, path in sorted(numbered.items(), reverse=True)]


def has_begun(folder: str | os.PathLike[str]) -> bool:
    """Returns whether a folder holds a finished checkpoint, or held one, as TensorFlow's list of checkpoints shows."""
    return bool(checkpoint_paths(folder)) or _newest_listed(folder) is not None


def _newest_listed(folder: str | os.PathLike[str]) -> str | None:
    """Returns the path of the newest checkpoint in TensorFlow's list; "" if the list is damaged, None if missing."""
    try:
        content = (pathlib.Path(folder) / "checkpoint").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    # TensorFlow's own reader raises various exceptions for a damaged list.
    named = re.match(r'model_checkpoint_path: "(?:.*/)?(ckpt-\d+)"$', content, re.MULTILINE)
    return str(pathlib.Path(folder) / named[1]) if named else ""


def _set_aside(path: str) -> None:
    for part in pathlib.Path(path).parent.glob(f"{pathlib.Path(path).name}.*"):
        part.replace(part.with_name(f"damaged-{part.name}"))
