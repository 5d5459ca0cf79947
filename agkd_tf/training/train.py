"""Training a recipe in a folder, resumably."""

import contextlib
import functools
import itertools
import json
from collections.abc import Callable
from typing import NamedTuple

import keras

from agkd_tf.data.batches import evaluation_batches, training_batches
from agkd_tf.data.class_names import same_names
from agkd_tf.data.device_images import resolve_resident
from agkd_tf.distribution import (
    distributed,
    has_several_workers,
    is_chief,
    num_replicas,
    wait_for_workers,
    workers_needed,
)
from agkd_tf.environment import describe_environment
from agkd_tf.errors import InputError
from agkd_tf.files import read_json, remove_leftovers, write_text
from agkd_tf.models.storage import load_classifier, save_classifier, weights_digest
from agkd_tf.monitoring import AttentionPanels, hparams_callback, write_layout
from agkd_tf.training.callbacks import AppendedHistory, KeepWeights, StopOnNonFinite, Throughput, ValidateAverage
from agkd_tf.training.checkpoints import Checkpoints, check_room, has_begun
from agkd_tf.training.interruption import InterruptedTrainingError, Interruption, interruptible

VALIDATION_BATCH = 200


def train(
    recipe,
    workdir,
    dataset,
    *,
    check=None,
    record=None,
    announce=None,
    warn=None,
    jit_compile="auto",
    resident="auto",
    keep_checkpoints=2,
    checkpoint_every_minutes=0,
    panel_every=5,
    verbose=1,
):
    """Trains a recipe, its teacher first where it needs one, from where the folder's checkpoints end.

    Within the scope of a `tf.distribute.Strategy` several devices train together, and several machines where each
    calls this with the same arguments; the folder is one that all of them read and the first one writes.

    Args:
        recipe: `Recipe`.
        workdir: `Workdir`.
        dataset: `ImageDataset` of the recipe.
        check: callable (recipe, workdir), called first, for the run and for its teacher's; may refuse.
        record: callable (recipe, workdir), called as soon as the recipe has proved to build, before anything else
            is written.
        announce: callable (recipe, workdir, defense, finished epochs, steps of the next that are done), called when a
            training begins.
        warn: callable (line), called with what is lost: checkpoints that are damaged.
        jit_compile: see `Defense.compile`.
        resident: see `resolve_resident`.
        keep_checkpoints: how many checkpoints stay.
        checkpoint_every_minutes: time after which a checkpoint is made within an epoch, where one process trains;
            0 for none.
        panel_every: epochs between image panels; 0 for none.
        verbose: as `keras.Model.fit`: 0 silent, 1 progress bar, 2 a line per epoch.

    Returns:
        The `Defense`, whose student is the one in the folder's `student.keras`.

    Raises:
        InputError: for a recipe, teacher or checkpoint that does not fit.
        NonFiniteLossError: if a term of the loss, or the gradient, became NaN or infinite.
        InterruptedTrainingError: if SIGTERM or SIGINT came, and the training is saved (see `interruptible`).
        LostWorkerError: if one of several workers is gone.
    """
    alone = not has_several_workers()
    with interruptible() if alone else contextlib.nullcontext() as interruption, workers_needed():
        settings = _Settings(
            check,
            record if is_chief() else None,
            announce,
            warn,
            jit_compile,
            resident,
            keep_checkpoints,
            checkpoint_every_minutes if alone else 0,
            verbose,
            interruption,
        )
        return _train(recipe, workdir, dataset, settings, panel_every=panel_every)


class _Settings(NamedTuple):
    """What a run and its teacher's have in common; see `train`."""

    check: Callable | None
    record: Callable | None
    announce: Callable | None
    warn: Callable | None
    jit_compile: bool | str
    resident: bool | str
    keep_checkpoints: int
    checkpoint_every_minutes: float
    verbose: int
    interruption: Interruption | None


def _train(recipe, workdir, dataset, settings, *, panel_every):
    if settings.check:
        settings.check(recipe, workdir)
    _check_class_names(workdir, dataset)
    chief, teacher = is_chief(), None
    if recipe.needs_teacher:
        # A student that has begun keeps its teacher, also where the run is continued for more epochs.
        if not recipe.teacher and not has_begun(workdir.checkpoints):
            # What is wrong with the student shows before the hours of its teacher.
            try:
                teacher = recipe.build_teacher(dataset)
            except InputError as error:
                raise InputError(f"the teacher, which would be trained first: {error}") from error
            planned = recipe.build_defense(dataset, teacher=teacher, jit_compile=settings.jit_compile)
            if chief:
                check_room(workdir.checkpoints, planned, keep=settings.keep_checkpoints)
            if settings.record:
                settings.record(recipe, workdir)
            _train(recipe.for_teacher(), workdir.teacher, dataset, settings, panel_every=0)
            if settings.interruption is not None and settings.interruption.name:
                raise InterruptedTrainingError(
                    f"stopped by {settings.interruption.name} after the teacher, which is saved"
                )
            wait_for_workers()  # the first of them has written it
        teacher = recipe.load_teacher(recipe.teacher or workdir.teacher.path)
    resident = resolve_resident(settings.resident, dataset.train.images)
    defense = recipe.build_defense(dataset, teacher=teacher, jit_compile=settings.jit_compile, resident=resident)
    if settings.record:
        settings.record(recipe, workdir)

    def save_student():
        with defense.averaged():
            save_classifier(defense.student, workdir.student, dataset.class_names)

    steps = recipe.steps_per_epoch(dataset)
    checkpoints = Checkpoints(
        workdir.checkpoints,
        defense,
        steps=steps,
        epochs=recipe.epochs,
        select_best=recipe.select_best,
        origins={
            "images": dataset.train.digest(),
            "teacher": weights_digest(teacher if recipe.has_teacher else None),
        },
        choose=save_student,
        keep=settings.keep_checkpoints,
        every_minutes=settings.checkpoint_every_minutes,
        interruption=settings.interruption,
    )
    for line in checkpoints.restore():
        if settings.warn:
            settings.warn(line)
    # A first epoch that was killed at its end leaves a line of history, and then a student, before its checkpoint.
    lines = _epochs_of(workdir.history)
    if not has_begun(workdir.checkpoints) and (lines > 1 or (not lines and workdir.student.exists())):
        raise InputError(
            f"{workdir.history if lines else workdir.student} is of a training of which no checkpoint is left: put "
            "one back, or train in another --workdir"
        )
    finished, begun = checkpoints.finished_epochs, checkpoints.begun_steps
    if begun and has_several_workers():
        raise InputError(
            f"the training in {workdir.path} was stopped within epoch {finished + 1}, which several workers cannot "
            "finish; one can: --distribution=none or mirrored, until the epoch is done"
        )
    is_missing = checkpoints.chosen_epoch and not workdir.student.exists()
    wait_for_workers()  # all have looked before the first of them writes it
    if is_missing:
        if checkpoints.chosen_epoch == finished and not begun:
            if chief:
                save_student()
            wait_for_workers()
        elif recipe.select_best != "last":  # the next epoch's student would take its place anyhow
            raise InputError(
                f"{workdir.student} of epoch {checkpoints.chosen_epoch}, the most robust one, is missing, and no "
                "checkpoint has it: put it back, or train in another --workdir"
            )
    if finished >= recipe.epochs:
        return _with_chosen_student(defense, workdir)
    if chief:
        check_room(workdir.checkpoints, defense, keep=settings.keep_checkpoints)
        checkpoints.remove_unfinished()
        if settings.announce:
            settings.announce(recipe, workdir, defense, finished, begun)
        _record_sitting(workdir, finished)
        write_text(workdir.class_names, json.dumps(dataset.class_names) + "\n")
        remove_leftovers(workdir.student)
    validation_batch = num_replicas() * -(-min(VALIDATION_BATCH, len(dataset.validation)) // num_replicas())
    validation = distributed(functools.partial(evaluation_batches, dataset.validation, batch_size=validation_batch))

    def fit(first, done, last, *more):
        """Trains from a step of one epoch to the end of another."""
        batches = functools.partial(
            training_batches,
            dataset.train,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            first_step=first * steps + done,
            with_images=not resident,
        )
        callbacks = [StopOnNonFinite(checkpoints), Throughput(recipe.batch_size), ValidateAverage(), *more]
        if chief:
            callbacks += [*_writers(recipe, workdir, dataset, defense, panel_every), checkpoints]
        defense.fit(
            distributed(batches),
            steps_per_epoch=steps - done,
            initial_epoch=first,
            epochs=last,
            validation_data=validation,
            validation_steps=-(-len(dataset.validation) // validation_batch),
            callbacks=callbacks,
            shuffle=False,
            verbose=settings.verbose if chief else 0,
        )

    if begun:  # an epoch that was broken off is finished first
        fit(finished, begun, finished + 1, KeepWeights())
        finished += 1
    if finished < recipe.epochs:
        fit(finished, 0, recipe.epochs)
    wait_for_workers()  # the first of them has written the student
    return _with_chosen_student(defense, workdir)


def _writers(recipe, workdir, dataset, defense, panel_every):
    """Returns the callbacks that write what is seen of a training."""
    panels = []
    if panel_every and defense.classifier.shows_features:
        panels.append(
            AttentionPanels(
                workdir.tensorboard,
                dataset.validation,
                every=panel_every,
                epochs=recipe.epochs,
                class_names=dataset.class_names,
            )
        )
    write_layout(
        workdir.tensorboard,
        [name for name in defense.trackers if name in defense.term_weights or name == "regularization"],
    )
    return [
        *panels,
        hparams_callback(workdir.tensorboard, recipe.settings()),
        # Both write before the checkpoint says that the epoch is done: a crash in between repeats an epoch's
        # points instead of losing them.
        keras.callbacks.TensorBoard(str(workdir.tensorboard), write_graph=False),
        AppendedHistory(workdir.history),
    ]


def _epochs_of(history):
    """Returns how many epochs a history has lines of."""
    if not history.exists():
        return 0
    _, *lines = history.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    return len({line.partition(",")[0] for line in lines})


def _check_class_names(workdir, dataset):
    """Checks that a run that has begun goes on with the classes that it began with; an earlier version's has no names.

    Raises:
        InputError: if it does not.
    """
    if not has_begun(workdir.checkpoints) or not workdir.class_names.exists():
        return
    recorded = read_json(workdir.class_names, list)
    if not same_names(recorded, dataset.class_names):
        pairs = enumerate(itertools.zip_longest(recorded, dataset.class_names))
        place, (then, now) = next((place, pair) for place, pair in pairs if pair[0] != pair[1])
        raise InputError(
            f"{workdir.path} holds a run of other classes than the data has: class {place} was {then!r} and is {now!r} "
            "now; bring back the classes and their names, or train in another --workdir"
        )


def _record_sitting(workdir, finished):
    sittings = read_json(workdir.environment, list) if workdir.environment.exists() else []
    sittings.append({"first_epoch": finished + 1, **describe_environment()})
    write_text(workdir.environment, json.dumps(sittings, indent=2) + "\n")


def _with_chosen_student(defense, workdir):
    defense.student.set_weights(load_classifier("workdir", workdir.path).get_weights())
    return defense
