"""Trains a recipe in a folder, and resumes it there."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from agkd_tf.data import ImageDataset
from agkd_tf.data.batches import evaluation_batches, training_batches
from agkd_tf.data.device_images import resolve_resident
from agkd_tf.data.extra import Extra
from agkd_tf.defenses.defense import Defense
from agkd_tf.defenses.pure_step import PureStep
from agkd_tf.distribution import (
    distributed,
    has_several_workers,
    is_chief,
    num_replicas,
    wait_for_workers,
    workers_needed,
)
from agkd_tf.errors import InputError
from agkd_tf.files import remove_leftovers
from agkd_tf.models.storage import load_classifier, save_classifier, weights_digest
from agkd_tf.monitoring import AttentionPanels, EpochScalars, hparams_callback, write_layout
from agkd_tf.progress import Progress
from agkd_tf.training.callbacks import AppendedHistory, KeepWeights, StopOnNonFinite, Throughput, ValidateAverage
from agkd_tf.training.checkpoints import Checkpoints, check_room, has_begun
from agkd_tf.training.epoch_lines import EpochLines
from agkd_tf.training.folder import (
    check_checkpoints_left,
    check_class_names,
    check_recipe,
    logged_epochs,
    record_recipe,
    record_session,
)
from agkd_tf.training.interruption import InterruptedTrainingError, Interruption, interruptible
from agkd_tf.training.listener import TrainingListener
from agkd_tf.training.options import TrainingOptions
from agkd_tf.training.overfitting import WatchOverfitting
from agkd_tf.training.recipe import Recipe
from agkd_tf.workdir import Workdir

VALIDATION_BATCH = 200


@dataclasses.dataclass(frozen=True)
class TrainedElsewhere:
    """The state of a training that another program did for a recipe; see `TrainingRun.adopt`.

    Attributes:
        state: values of `PureStep.variables` after the last epoch.
        student: values of the student's variables after the epoch that was chosen.
        chosen_epoch: number of that epoch, from 1.
        best: its score (see `agkd_tf.training.checkpoints.SELECT_BEST`).
        history: for each epoch, what `fit` would have logged: name -> value.
        machine: what `agkd_tf.environment.describe_environment` returned there.
    """

    state: Sequence[np.ndarray]
    student: Sequence[np.ndarray]
    chosen_epoch: int
    best: float
    history: Sequence[Mapping[str, float]]
    machine: Mapping[str, Any]


class TrainingRun:
    """Trains a recipe in a folder: first the teacher, if it needs one, and on from the newest checkpoint, if any.

        recipe = Recipe(dataset="digits", model="wrn-10-1", defense="agkd_bml", epochs=20, decay_epochs=(10, 15))
        defense = TrainingRun(recipe, "runs/digits").run()
        defense.student  # the trained network, which is also in runs/digits/student.keras

    The same lines resume the run, even in the middle of an epoch. `epochs` may grow; any other change of the recipe is
    refused.

    `run` does all steps in order: `prepare_teacher`, `build`, `restore`, `fit`, `finish`. You can also call them one by
    one, for example to look at the network before it is trained; SIGTERM and Ctrl-C are then not handled.

    In the scope of a `tf.distribute.Strategy`, several devices train together, and several machines if each of them
    makes the same run; all of them must be able to read the folder, which the first one writes.

    Args:
        recipe: what is trained.
        workdir: the run's folder, a path or a `Workdir`.
        dataset: the data set of the recipe; None to load it.
        options: how it is trained.
        listener: `TrainingListener` whose methods are called during the training, including the teacher's.

    Attributes:
        recipe, workdir, dataset, options, listener: as above.
        teacher: the teacher, a `keras.Model`, after `prepare_teacher`; None for a recipe that needs none.

    Raises:
        InputError: if the folder's path is a file, or the data set cannot be loaded.
    """

    teacher: keras.Model | None = None

    def __init__(
        self,
        recipe: Recipe,
        workdir: str | os.PathLike[str] | Workdir,
        dataset: ImageDataset | None = None,
        *,
        options: TrainingOptions | None = None,
        listener: TrainingListener | None = None,
    ) -> None:
        self.recipe = recipe
        self.workdir = workdir if isinstance(workdir, Workdir) else Workdir(workdir)
        self.workdir.check()
        self.dataset: ImageDataset = recipe.load_dataset() if dataset is None else dataset
        self.options = options or TrainingOptions()
        self.listener = listener or TrainingListener()
        self._is_prepared = False
        self._defense: Defense | None = None
        self._extra: Extra | None = None
        self._checkpoints: Checkpoints | None = None
        self._interruption: Interruption | None = None
        self._watch: WatchOverfitting | None = None

    @property
    def defense(self) -> Defense:
        """The compiled `Defense`, after `build`.

        Raises:
            InputError: before `build`.
        """
        if self._defense is None:
            raise InputError("the run has no defense yet: call `build()` or `run()` first")
        return self._defense

    @property
    def finished_epochs(self) -> int:
        """Number of finished epochs, after `restore`.

        Raises:
            InputError: before `restore`.
        """
        return self._restored.finished_epochs

    @property
    def begun_steps(self) -> int:
        """Number of steps done in the unfinished epoch, after `restore`.

        Raises:
            InputError: before `restore`.
        """
        return self._restored.begun_steps

    @property
    def _restored(self) -> Checkpoints:
        if self._checkpoints is None:
            raise InputError("the run has not looked for checkpoints yet: call `restore()` or `run()` first")
        return self._checkpoints

    def run(self) -> Defense:
        """Trains, and continues from the folder's newest checkpoint if there is one.

        Returns:
            The `Defense`, whose student is the one in the folder's `student.keras`.

        Raises:
            InputError: for a recipe, teacher or checkpoint that does not fit.
            NonFiniteLossError: if a term of the loss, or the gradient, became NaN or infinite.
            InterruptedTrainingError: if SIGTERM or SIGINT came; the training is saved (see `interruptible`).
            LostWorkerError: if one of several workers is lost.
        """
        alone = not has_several_workers()
        with interruptible() if alone else contextlib.nullcontext() as interruption, workers_needed():
            return self._run(interruption)

    def _run(self, interruption: Interruption | None) -> Defense:
        self._interruption = interruption
        try:
            self.prepare_teacher()
            self.build()
            self.restore()
            self.fit()
            return self.finish()
        finally:
            self._interruption = None

    def prepare_teacher(self) -> keras.Model | None:
        """Checks the folder, and loads the teacher; trains it first if the recipe names none.

        The student is checked first, so that its mistakes show before the hours of training its teacher.

        Returns:
            The teacher, a network that returns logits; None for a recipe that needs none.

        Raises:
            InputError: if the folder holds another run, for a recipe that does not fit the data, or without the robust
                teacher that a recipe needs.
            Exception: what the teacher's `run` raises.
        """
        recipe, workdir = self.recipe, self.workdir
        recipe.check_teacher()
        check_recipe(workdir, recipe)
        check_class_names(workdir, self.dataset)
        if recipe.needs_teacher:
            # A student that has begun keeps its teacher, even if the run is continued for more epochs.
            if not recipe.teacher and not has_begun(workdir.checkpoints):
                self._check_student()
                self._record()
                self._train_teacher()
            self.teacher = recipe.load_teacher(recipe.teacher or workdir.teacher.path)
        self._is_prepared = True
        return self.teacher

    def _check_student(self) -> None:
        """Builds the student's defense with an untrained teacher, to find mistakes before the teacher is trained."""
        try:
            teacher = self.recipe.build_teacher(self.dataset)
        except InputError as error:
            raise InputError(f"the teacher, which would be trained first: {error}") from error
        planned = self.recipe.build_defense(self.dataset, teacher=teacher, jit_compile=self.options.jit_compile)
        if is_chief():
            check_room(self.workdir.checkpoints, planned, keep=self.options.keep_checkpoints)

    def _train_teacher(self) -> None:
        run = TrainingRun(
            self.recipe.for_teacher(),
            self.workdir.teacher,
            self.dataset,
            options=dataclasses.replace(self.options, panel_every=0),
            listener=self.listener,
        )
        run._run(self._interruption)
        if self._interruption is not None and self._interruption.name:
            raise InterruptedTrainingError(f"stopped by {self._interruption.name} after the teacher, which is saved")
        wait_for_workers()  # the first worker has written it

    def _record(self) -> None:
        if is_chief():
            record_recipe(self.workdir, self.recipe)

    def build(self) -> Defense:
        """Builds and compiles the defense, and then records the recipe in the folder.

        Raises:
            InputError: for a recipe that does not fit the data, the teacher or itself, or before `prepare_teacher`.
        """
        if not self._is_prepared:
            raise InputError("the run's teacher is not prepared yet: call `prepare_teacher()` or `run()` first")
        self._checkpoints = None
        self._extra = self.recipe.load_extra(self.dataset)
        self._defense = self.recipe.build_defense(
            self.dataset,
            teacher=self.teacher,
            jit_compile=self.options.jit_compile,
            resident=resolve_resident(self.options.resident, self.dataset.train.images, extra=self._extra is not None),
        )
        self._record()
        return self._defense

    def restore(self) -> None:
        """Restores the newest undamaged checkpoint, if there is one.

        Raises:
            InputError: if all checkpoints are damaged or missing, if they do not fit, or if the chosen student is lost;
                or before `build`.
        """
        recipe, workdir = self.recipe, self.workdir
        origins = {
            "images": self.dataset.train.digest(),
            "teacher": weights_digest(self.teacher if recipe.has_teacher else None),
        }
        if self._extra is not None:
            origins["extra_data"] = self._extra.examples.digest()
        checkpoints = Checkpoints(
            workdir.checkpoints,
            self.defense,
            steps=recipe.steps_per_epoch(self.dataset),
            epochs=recipe.epochs,
            select_best=recipe.select_best,
            origins=origins,
            choose=self._save_student,
            keep=self.options.keep_checkpoints,
            may_choose=lambda: self._watch is None or self._watch.may_choose,
            every_minutes=0 if has_several_workers() else self.options.checkpoint_every_minutes,
            interruption=self._interruption,
        )
        for line in checkpoints.restore():
            self.listener.warns(line)
        check_checkpoints_left(workdir)
        finished, begun, chosen = checkpoints.finished_epochs, checkpoints.begun_steps, checkpoints.chosen_epoch
        if begun and has_several_workers():
            raise InputError(
                f"the training in {workdir.path} was stopped within epoch {finished + 1}, which several workers cannot "
                'finish: finish it with a single worker, `distribution="none"` or `distribution="mirrored"`'
            )
        is_missing = chosen and not workdir.student.exists()
        wait_for_workers()  # all workers have checked before the first one writes it
        if is_missing:
            if chosen == finished and not begun:
                if is_chief():
                    self._save_student()
                wait_for_workers()
            # Otherwise the next epoch's student would replace it anyway.
            elif recipe.select_best != "last" or recipe.on_overfitting == "restore":
                which = "chosen" if recipe.select_best == "last" else "most robust"
                raise InputError(
                    f"{workdir.student} of epoch {chosen}, the {which} one, is missing, and no checkpoint contains "
                    "it: put it back, or choose another `workdir`"
                )
        self._checkpoints = checkpoints
        self._watch = self._watch_for_overfitting(finished) if recipe.watches_overfitting else None

    def _watch_for_overfitting(self, finished: int) -> WatchOverfitting:
        history = logged_epochs(self.workdir)
        return WatchOverfitting(
            drop=self.recipe.overfitting_drop,
            action=self.recipe.on_overfitting,
            attack=f"PGD-{self.recipe.hyperparameters['validation_attack_steps']}",
            tell=self._tell,
            history={epoch: logs for epoch, logs in history.items() if epoch < finished},
        )

    def _tell(self, line: str) -> None:
        if is_chief():  # each worker sees the same
            self.listener.warns(line)

    @property
    def _is_ended(self) -> bool:
        """Whether the training has ended before its last epoch, since it overfitted."""
        return self._watch is not None and self._watch.ends

    def _save_student(self) -> None:
        with self.defense.averaged():
            save_classifier(self.defense.student, self.workdir.student, self.dataset.class_names)

    def fit(self) -> None:
        """Trains the remaining epochs, and saves after each of them.

        Raises:
            InputError: if the disk has not enough space for checkpoints; or before `restore`.
            NonFiniteLossError, InterruptedTrainingError: see `run`.
        """
        epochs, finished, begun = self.recipe.epochs, self.finished_epochs, self.begun_steps
        if finished >= epochs or self._is_ended:
            return
        if is_chief():
            check_room(self.workdir.checkpoints, self.defense, keep=self.options.keep_checkpoints)
            self._restored.remove_unfinished()
            self.listener.begins(self)
            record_session(self.workdir, self.dataset, first_epoch=finished + 1)
            remove_leftovers(self.workdir.student)
        examples = self.dataset.validation
        batch_size = num_replicas() * -(-min(VALIDATION_BATCH, len(examples)) // num_replicas())
        validation = {
            "validation_data": distributed(functools.partial(evaluation_batches, examples, batch_size=batch_size)),
            "validation_steps": -(-len(examples) // batch_size),
        }
        show = self._epoch_lines()
        if begun:  # an interrupted epoch is finished first
            self._fit(finished, begun, finished + 1, validation, *show, KeepWeights())
            finished += 1
        if finished < epochs and not self._is_ended:
            self._fit(finished, 0, epochs, validation, *show)
        wait_for_workers()  # the first worker has written the student

    def _fit(self, first: int, done: int, last: int, validation: dict, *more: keras.callbacks.Callback) -> None:
        """Trains from step `done` of epoch `first`, counted from 0, to the end of epoch `last`, counted from 1."""
        recipe, steps = self.recipe, self.recipe.steps_per_epoch(self.dataset)
        batches: Callable[..., tf.data.Dataset] = functools.partial(
            training_batches,
            self.dataset.train,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            first_step=first * steps + done,
            with_images=self.defense.resident is None,
            extra=self._extra,
        )
        callbacks = [StopOnNonFinite(self._restored), Throughput(recipe.batch_size), ValidateAverage(), *more]
        if self._watch is not None:
            callbacks.append(self._watch)
        if is_chief():
            callbacks += [*self._writers(), self._restored]
        self.defense.fit(
            distributed(batches),
            steps_per_epoch=steps - done,
            initial_epoch=first,
            epochs=last,
            callbacks=callbacks,
            shuffle=False,
            verbose=0,  # `EpochLines` shows the progress
            **validation,
        )

    def _epoch_lines(self) -> list[keras.callbacks.Callback]:
        """Returns the callback that shows the training, in a list; [] if nothing is shown."""
        progress = Progress(self.options.progress)
        if progress.is_off or not is_chief():
            return []
        attack_steps = self.recipe.hyperparameters["validation_attack_steps"]
        robust = f", robust: under PGD-{attack_steps}" if attack_steps else ""
        return [
            EpochLines(
                progress,
                epochs=self.recipe.epochs,
                steps=self.recipe.steps_per_epoch(self.dataset),
                first_line=f"Accuracies on {len(self.dataset.validation):,} validation images{robust}",
            )
        ]

    def _writers(self) -> list[keras.callbacks.Callback]:
        """Returns the callbacks that write a training's image panels and numbers."""
        defense, panels = self.defense, []
        if self.options.panel_every and defense.classifier.shows_features:
            panels.append(
                AttentionPanels(
                    self.workdir.tensorboard,
                    self.dataset.validation,
                    every=self.options.panel_every,
                    epochs=self.recipe.epochs,
                    class_names=self.dataset.class_names,
                )
            )
        return [*panels, *self._loggers()]

    def _loggers(self) -> list[keras.callbacks.Callback]:
        """Returns the callbacks that write the numbers of each epoch."""
        workdir, defense = self.workdir, self.defense
        terms = [name for name in defense.trackers if name in defense.term_weights or name == "regularization"]
        write_layout(workdir.tensorboard, terms)
        return [
            hparams_callback(workdir.tensorboard, workdir.path.resolve().name, self.recipe.settings()),
            # Both write before the checkpoint records the epoch as done: a crash in between repeats an epoch's
            # points instead of losing them.
            EpochScalars(workdir.tensorboard, terms),
            AppendedHistory(workdir.history),
        ]

    def adopt(self, trained: "TrainedElsewhere") -> Defense:
        """Writes the folder as if the run had trained here. Call it after `restore`, instead of `fit`.

        `run` then continues where that training ended, as if it had trained here.

        Args:
            trained: what was trained elsewhere.

        Returns:
            The `Defense`, whose student is the chosen one.

        Raises:
            InputError: if the folder holds a training already, or `trained` does not fit the defense.
        """
        if self.finished_epochs or self.begun_steps:
            raise InputError(f"{self.workdir.path} holds a training already: choose another `workdir`")
        defense, epochs, student = self.defense, len(trained.history), self.defense.student
        if not 0 < epochs <= self.recipe.epochs:
            raise InputError(f"a run of {self.recipe.epochs} epochs cannot adopt a training of {epochs}")
        step = PureStep(defense)
        _check_shapes("state", trained.state, step.variables)
        _check_shapes("student", trained.student, student.variables)
        check_room(self.workdir.checkpoints, defense, keep=self.options.keep_checkpoints)
        record_session(self.workdir, self.dataset, first_epoch=1, machine=trained.machine)
        for variable, value in zip(student.variables, trained.student, strict=True):
            variable.assign(value)
        save_classifier(student, self.workdir.student, self.dataset.class_names)
        step.assign(trained.state)
        loggers = keras.callbacks.CallbackList(self._loggers(), model=defense)
        loggers.on_train_begin()
        for epoch, logs in enumerate(trained.history):
            loggers.on_epoch_begin(epoch)
            loggers.on_epoch_end(epoch, dict(logs))
        loggers.on_train_end()
        self._restored.adopt(epochs=epochs, chosen_epoch=trained.chosen_epoch, best=trained.best)
        return self.finish()

    def finish(self) -> Defense:
        """Gives the defense's student the weights of the chosen epoch.

        Returns:
            The `Defense`, whose student is the one in the folder's `student.keras`.

        Raises:
            InputError: if that file is missing or damaged; or before `build`.
        """
        self.defense.student.set_weights(load_classifier("workdir", self.workdir.path).get_weights())
        return self.defense


def _check_shapes(what: str, values: Sequence[np.ndarray], variables: Sequence[keras.Variable]) -> None:
    own, given = [tuple(variable.shape) for variable in variables], [np.shape(value) for value in values]
    if own != given:
        raise InputError(
            f"the {what} that was trained elsewhere does not fit the recipe: shapes {given} instead of {own}"
        )
