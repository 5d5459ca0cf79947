"""Training a recipe in a folder, resumably."""

import functools
import json

import keras

from agkd_tf.data.batches import evaluation_batches, training_batches
from agkd_tf.data.device_images import resolve_resident
from agkd_tf.distribution import distributed, is_chief, num_replicas, wait_for_workers, workers_needed
from agkd_tf.environment import describe_environment
from agkd_tf.errors import InputError
from agkd_tf.files import replacing, write_text
from agkd_tf.models.storage import load_classifier
from agkd_tf.monitoring import AttentionPanels, hparams_callback, write_layout
from agkd_tf.training.callbacks import StopOnNonFinite, Throughput, ValidateAverage
from agkd_tf.training.checkpoints import Checkpoints, has_checkpoint

VALIDATION_BATCH = 200


def train(
    recipe,
    workdir,
    dataset,
    *,
    check=None,
    record=None,
    announce=None,
    jit_compile="auto",
    resident="auto",
    keep_checkpoints=2,
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
        announce: callable (recipe, workdir, defense, finished epochs), called when a training begins.
        jit_compile: see `Defense.compile`.
        resident: see `resolve_resident`.
        keep_checkpoints: how many checkpoints stay.
        panel_every: epochs between image panels; 0 for none.
        verbose: as `keras.Model.fit`: 0 silent, 1 progress bar, 2 a line per epoch.

    Returns:
        The `Defense`, whose student is the one in the folder's `student.keras`.

    Raises:
        InputError: for a recipe, teacher or checkpoint that does not fit.
        NonFiniteLossError: if the loss became NaN or infinite.
        LostWorkerError: if one of several workers is gone.
    """
    if check:
        check(recipe, workdir)
    chief = is_chief()
    record = record if chief else None
    teacher = None
    if recipe.needs_teacher:
        # A student that has begun keeps its teacher, also where the run is continued for more epochs.
        if not recipe.teacher and not has_checkpoint(workdir.checkpoints):
            # What is wrong with the student shows before the hours of its teacher.
            try:
                teacher = recipe.for_teacher().build_defense(dataset).student
            except InputError as error:
                raise InputError(f"the teacher, which would be trained first: {error}") from error
            recipe.build_defense(dataset, teacher=teacher)
            if record:
                record(recipe, workdir)
            train(
                recipe.for_teacher(),
                workdir.teacher,
                dataset,
                check=check,
                record=record,
                announce=announce,
                jit_compile=jit_compile,
                resident=resident,
                keep_checkpoints=keep_checkpoints,
                panel_every=0,
                verbose=verbose,
            )
            wait_for_workers()  # the first of them has written it
        teacher = load_classifier("teacher", recipe.teacher or workdir.teacher.path)
    resident = resolve_resident(resident, dataset.train.images)
    defense = recipe.build_defense(dataset, teacher=teacher, jit_compile=jit_compile, resident=resident)
    if record:
        record(recipe, workdir)

    def save_student():
        with replacing(workdir.student) as path, defense.averaged():
            defense.student.save(path)

    checkpoints = Checkpoints(
        workdir.checkpoints, defense, select_best=recipe.select_best, choose=save_student, keep=keep_checkpoints
    )
    finished = checkpoints.restore()
    if finished and not workdir.student.exists():
        if checkpoints.chosen_epoch != finished:
            raise InputError(
                f"{workdir.student} of epoch {checkpoints.chosen_epoch}, the most robust one, is missing, and no "
                "checkpoint has it: put it back, or train in another --workdir"
            )
        save_student()
    if finished >= recipe.epochs:
        return _with_chosen_student(defense, workdir)
    if announce and chief:
        announce(recipe, workdir, defense, finished)
    callbacks = [StopOnNonFinite(), Throughput(recipe.batch_size), ValidateAverage()]
    if chief:
        callbacks += _writers(recipe, workdir, dataset, defense, panel_every)
        callbacks.append(checkpoints)
        _record_sitting(workdir, finished)
    steps, held_out = recipe.steps_per_epoch(dataset), len(dataset.validation)
    validation_batch = num_replicas() * -(-min(VALIDATION_BATCH, held_out) // num_replicas())
    with workers_needed():
        defense.fit(
            distributed(
                functools.partial(
                    training_batches,
                    dataset.train,
                    batch_size=recipe.batch_size,
                    seed=recipe.seed,
                    first_step=finished * steps,
                    with_images=not resident,
                )
            ),
            steps_per_epoch=steps,
            initial_epoch=finished,
            epochs=recipe.epochs,
            validation_data=distributed(
                functools.partial(evaluation_batches, dataset.validation, batch_size=validation_batch)
            ),
            validation_steps=-(-held_out // validation_batch),
            callbacks=callbacks,
            shuffle=False,
            verbose=verbose if chief else 0,
        )
        wait_for_workers()  # the first of them has written the student
    return _with_chosen_student(defense, workdir)


def _writers(recipe, workdir, dataset, defense, panel_every):
    """Returns the callbacks that write what is seen of a training."""
    panels = []
    if panel_every:
        panels.append(
            AttentionPanels(workdir.tensorboard, dataset.validation, every=panel_every, class_names=dataset.class_names)
        )
    write_layout(workdir.tensorboard, [name for name in defense.trackers if name not in ("loss", "train_accuracy")])
    return [
        *panels,
        hparams_callback(workdir.tensorboard, recipe.settings()),
        # Both write before the checkpoint says that the epoch is done: a crash in between repeats an epoch's
        # points instead of losing them.
        keras.callbacks.TensorBoard(str(workdir.tensorboard), write_graph=False),
        keras.callbacks.CSVLogger(str(workdir.history), append=True),
    ]


def _record_sitting(workdir, finished):
    sittings = json.loads(workdir.environment.read_text(encoding="utf-8")) if workdir.environment.exists() else []
    sittings.append({"first_epoch": finished + 1, **describe_environment()})
    write_text(workdir.environment, json.dumps(sittings, indent=2) + "\n")


def _with_chosen_student(defense, workdir):
    defense.student.set_weights(load_classifier("workdir", workdir.path).get_weights())
    return defense
