"""Several devices and workers give what one gives. What runs in other processes stands at the top of the module."""

import functools
import json

import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.attacks import APGD, PGD, AttackSequence, Ball, SquareAttack
from agkd_tf.data import load_dataset
from agkd_tf.data.batches import evaluation_batches, training_batches
from agkd_tf.distribution import (
    TF_CONFIG,
    LostWorkerError,
    distributed,
    make_strategy,
    num_replicas,
    workers_needed,
)
from agkd_tf.errors import InputError
from agkd_tf.evaluation import Outcome, run_attack
from agkd_tf.models import Classifier
from agkd_tf.models.storage import load_classifier
from agkd_tf.randomness import step_seed
from agkd_tf.training import Recipe
from agkd_tf.workdir import Workdir
from tests.processes import fresh_process
from tests.trainings import train

SMALL = {"train_examples": 160, "validation_examples": 33, "model": "tiny", "batch_size": 32, "decay_epochs": ()}
# Weights agree to rounding. The sign of a gradient near zero makes a step of any rounding, so does a ReLU at zero, and
# each training step multiplies it: attacks and rates are small here, and what two devices do otherwise than one shows
# in BN's statistics first; or the steps are few.
RATE, LARGE_RATE, FEW_STEPS = 1e-4, 0.1, 2
ATTACK = {"eps": 0.09, "attack_steps": 2, "attack_step_size": 1e-6, "validation_attack_steps": 1}
# The start shows in what is crafted: its ball is wider than both steps together.
VISIBLE_ATTACK = {"eps": 38 / 255, "attack_steps": 2, "attack_step_size": 8 / 255}
DEFENSES = {
    "undefended": {"validation_attack_steps": 1},
    "agkd_bml": ATTACK,
    "trades": ATTACK | {"awp_gamma": 0.05},
    "cat_ce": ATTACK | {"attack_steps": 1},
}


def recipe_of(defense, **fields):
    return Recipe(**SMALL | {"defense": defense, "hyperparameters": DEFENSES.get(defense, {})} | fields)


def built(recipe, dataset, **settings):
    teacher = recipe.build_teacher(dataset) if recipe.needs_teacher else None
    return recipe.build_defense(dataset, teacher=teacher, **settings)


def weights_after(steps, defense, distribution, rate, model="tiny"):
    """Returns the replicas, weights and what is remembered of the examples, and how far the trained weights moved.

    BN is synchronised, XLA off, augmentation on.
    """
    strategy = make_strategy(distribution)
    settings = {"synchronized_bn": True, "augmentation": "crop_flip", "learning_rate": rate}
    recipe = recipe_of(defense, model=model, **settings)
    dataset = recipe.load_dataset()
    with strategy.scope():
        trained = built(recipe, dataset)
        batches = distributed(functools.partial(training_batches, dataset.train, batch_size=32, seed=0))
        begun = [variable.numpy() for variable in trained.student.trainable_variables]
        trained.fit(batches, steps_per_epoch=steps, verbose=0)
        ended = [variable.numpy() for variable in trained.student.trainable_variables]
        arrays = trained.student.get_weights() + [rows.numpy() for rows in trained.memory.values()]
        return num_replicas(), arrays, largest_difference(begun, ended)


def crafted(distribution, jit_compile):
    """Returns the replicas, and what they craft of one batch, in its order: images and adversaries by name."""
    strategy = make_strategy(distribution)
    recipe = recipe_of("agkd_bml", hyperparameters=VISIBLE_ATTACK, augmentation="crop_flip")
    dataset = recipe.load_dataset()
    with strategy.scope():
        defense = built(recipe, dataset, jit_compile=jit_compile)
        craft = tf.function(defense.training_step.craft, autograph=False, jit_compile=jit_compile)

        def step(batch):
            return craft(batch["image"], batch["label"], step_seed(0, 3), {})

        batches = distributed(functools.partial(training_batches, dataset.train, batch_size=32, seed=0))
        found = tf.function(lambda batch: strategy.run(step, (batch,)), autograph=False)(next(iter(batches)))
        names = ("clean", "forward", "other", "backward")
        return num_replicas(), {name: strategy.gather(found[name], axis=0).numpy() for name in names}


def after_an_overflow(distribution):
    """Returns how far a step moves the weights in which replica 1 alone has an infinite gradient, and the loss scales.

    The scales are each replica's, as times the one before.
    """
    strategy = make_strategy(distribution)
    recipe = recipe_of("undefended", mixed_precision="float16")
    dataset = recipe.load_dataset()
    with strategy.scope():
        defense = built(recipe, dataset)
        compute_gradients = defense.training_step.gradients

        def overflowing(*arguments):
            gradients, *others = compute_gradients(*arguments)
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            return [*gradients[:-1], gradients[-1] + tf.where(replica == 1, np.inf, 0.0)], *others

        defense.training_step.gradients = overflowing
        begun = [variable.numpy() for variable in defense.student.trainable_variables]
        scale = float(defense.optimizer.dynamic_scale.numpy())
        batches = distributed(functools.partial(training_batches, dataset.train, batch_size=32, seed=0))
        defense.fit(batches, steps_per_epoch=1, verbose=0)
        ended = [variable.numpy() for variable in defense.student.trainable_variables]
        copies = strategy.experimental_local_results(defense.optimizer.dynamic_scale.value)
        return largest_difference(begun, ended), [float(copy.numpy()) / scale for copy in copies]


def moving_statistics(distribution):
    """Returns each BN statistic before and after a step, the latter as a list of the replicas' copies."""
    strategy = make_strategy(distribution)
    recipe = recipe_of("undefended")
    dataset = recipe.load_dataset()
    with strategy.scope():
        defense = built(recipe, dataset)
        begun = [variable.numpy() for variable in defense.student.non_trainable_variables]
        batches = distributed(functools.partial(training_batches, dataset.train, batch_size=32, seed=0))
        defense.fit(batches, steps_per_epoch=1, verbose=0)
        copies = [
            [copy.numpy() for copy in strategy.experimental_local_results(variable.value)]
            for variable in defense.student.non_trainable_variables
        ]
        return begun, copies


def validated(distribution):
    """Returns the replicas, the accuracy measured of a network that says 3 to each of 33 images, and the true one."""
    strategy = make_strategy(distribution)
    recipe = recipe_of("undefended")
    dataset = recipe.load_dataset()
    with strategy.scope():
        defense = recipe.build_defense(dataset)
        bias = np.zeros(10, np.float32)
        bias[3] = 100
        defense.student.get_layer("logits").bias.assign(bias)
        batches = distributed(functools.partial(evaluation_batches, dataset.validation, batch_size=20))
        found = defense.evaluate(batches, steps=2, verbose=0, return_dict=True)
        return num_replicas(), found["accuracy"], float((dataset.validation.labels == 3).mean())


def run(folder, distribution, recipe, jit_compile=False, resident=False, panel_every=0):
    """Trains in a folder; returns the replicas, the steps taken and the student's weights."""
    strategy = make_strategy(distribution)
    dataset = recipe.load_dataset()
    with strategy.scope():
        settings = {"jit_compile": jit_compile, "resident": resident}
        defense = train(recipe, Workdir(folder), dataset, **settings, panel_every=panel_every)
        return num_replicas(), int(defense.step.numpy()), defense.student.get_weights()


def attacked(path, distribution, jit_compile):
    """Returns the replicas, and what each of 25 images is taken for under attacks that draw and that search."""
    strategy = make_strategy(distribution)
    examples = load_dataset("digits").test.take(slice(0, 25))
    with strategy.scope():
        classifier = Classifier(load_classifier("model_file", path))
        found = []
        parts = [
            PGD(5),
            APGD("targeted_dlr", steps=15, targets=1),
            SquareAttack(200),
        ]
        for part in parts:
            attack, outcome = AttackSequence(part.name, (part,), Ball("linf", 0.1)), Outcome.fresh(len(examples))
            run_attack(classifier.logits, examples, attack, batch_size=10, jit_compile=jit_compile, outcome=outcome)
            found.append(outcome.prediction)
        return num_replicas(), np.stack(found)


def largest_difference(ours, others):
    assert len(ours) == len(others)
    return max(np.abs(one - other).max() for one, other in zip(ours, others, strict=True))


@pytest.mark.parametrize(
    ("defense", "model"),
    [
        ("agkd_bml", "tiny"),
        pytest.param("agkd_bml", "wrn-10-1", marks=pytest.mark.slow),
        *(pytest.param(name, "tiny", marks=pytest.mark.slow) for name in DEFENSES if name != "agkd_bml"),
    ],
)
def test_two_devices_with_synchronised_bn_train_as_one(defense, model, on_devices):
    devices, both, _ = on_devices(2, weights_after, 5, defense, "mirrored", RATE, model)
    alone, one, _ = on_devices(1, weights_after, 5, defense, "none", RATE, model)
    assert (devices, alone) == (2, 1)
    assert largest_difference(one, both) < 1e-5


@pytest.mark.slow
def test_steps_of_a_large_rate_are_those_of_one_device(on_devices, on_workers):
    _, one, _ = on_devices(1, weights_after, FEW_STEPS, "undefended", "none", LARGE_RATE)
    results = [on_devices(2, weights_after, FEW_STEPS, "undefended", "mirrored", LARGE_RATE)]
    results += on_workers(weights_after, FEW_STEPS, "undefended", "multi_worker", LARGE_RATE)
    for replicas, weights, moved in results:
        assert replicas == 2
        assert largest_difference(one, weights) < 1e-5 < moved / 1000


@pytest.mark.parametrize("distribution", ["mirrored", pytest.param("multi_worker", marks=pytest.mark.slow)])
def test_an_overflow_in_one_replica_leaves_the_step_out_in_all(on_devices, on_workers, distribution):
    if distribution == "multi_worker":
        results = on_workers(after_an_overflow, distribution)
    else:
        results = [on_devices(2, after_an_overflow, distribution)]
    assert [moved for moved, _ in results] == len(results) * [0.0]
    assert [scale for _, scales in results for scale in scales] == [0.5, 0.5]


@pytest.mark.parametrize("distribution", ["mirrored", pytest.param("multi_worker", marks=pytest.mark.slow)])
def test_replicas_keep_one_mean_of_their_moving_statistics(on_devices, on_workers, distribution):
    if distribution == "multi_worker":
        (begun, first), (_, second) = on_workers(moving_statistics, distribution)
        copies = [[*one, *other] for one, other in zip(first, second, strict=True)]
    else:
        begun, copies = on_devices(2, moving_statistics, distribution)
    # The first BN sees what one device's does: the mean over the batch is the mean of the parts' means.
    _, [[alone], *_] = on_devices(1, moving_statistics, "none")
    np.testing.assert_allclose(copies[0][0], alone, atol=1e-6)
    assert len(copies) == len(begun) > 0
    for before, (one, other) in zip(begun, copies, strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.any(one != before)


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_two_devices_craft_what_one_does(on_devices, jit_compile):
    replicas, both = on_devices(2, crafted, "mirrored", jit_compile)
    alone, one = on_devices(1, crafted, "none", jit_compile)
    assert (replicas, alone) == (2, 1)
    for images, adversaries in (("clean", "forward"), ("other", "backward")):
        np.testing.assert_array_equal(both[images], one[images])
        # The sign of a gradient near zero may be another one.
        assert np.mean(np.abs(both[adversaries] - one[adversaries]) < 1e-5) > 0.995
        assert np.any(one[adversaries] != one[images], axis=(1, 2, 3)).all()


def test_an_accuracy_counts_each_image_once_whatever_the_device(on_devices):
    replicas, accuracy, expected = on_devices(2, validated, "mirrored")
    assert replicas == 2
    assert accuracy == pytest.approx(expected)
    assert 0 < expected < 1


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_two_devices_evaluate_as_one(tmp_path, digits, on_devices, jit_compile):
    student = recipe_of("undefended").build_student(digits)
    student.save(tmp_path / "student.keras")
    replicas, together = on_devices(2, attacked, tmp_path / "student.keras", "mirrored", jit_compile)
    _, alone = on_devices(1, attacked, tmp_path / "student.keras", "none", jit_compile)
    assert replicas == 2
    np.testing.assert_array_equal(together, alone)
    assert len(np.unique(together)) > 1


@pytest.mark.slow
@pytest.mark.parametrize("distribution", ["mirrored", "multi_worker"])
def test_two_replicas_train_and_resume_with_xla_and_float16(tmp_path, on_devices, on_workers, distribution):
    """And with the images on the devices, as a run on GPUs has them."""
    recipe = functools.partial(recipe_of, "agkd_bml", mixed_precision="float16", train_examples=64)
    begun = recipe().build_student(load_dataset("digits")).get_weights()

    def trained(epochs):
        arguments = (run, tmp_path / "run", distribution, recipe(epochs=epochs), True, True, 1)
        results = on_workers(*arguments) if distribution == "multi_worker" else [on_devices(2, *arguments)]
        for replicas, steps, weights in results:
            assert (replicas, steps) == (2, 2 * epochs)
            assert largest_difference(weights, results[0][2]) == 0
        return weights

    for epoch in (1, 2):
        before, begun = begun, trained(epoch)
        assert all(np.isfinite(weight).all() for weight in begun)
        assert largest_difference(before, begun) > 0
    # A header, and each epoch once.
    assert len(Workdir(tmp_path / "run").history.read_text().splitlines()) == 3


@pytest.mark.slow
def test_two_devices_with_a_bounded_pool_and_the_images_on_them_train_as_one(tmp_path, on_devices):
    settings = {"pool_capacity": 3, "init_from_teacher": False, "hyperparameters": ATTACK, "train_examples": 64}
    recipe = recipe_of("bml", **settings, epochs=2, synchronized_bn=True, learning_rate=RATE)
    found = [
        on_devices(devices, run, tmp_path / distribution, distribution, recipe, False, True)
        for devices, distribution in ((2, "mirrored"), (1, "none"))
    ]
    assert [(replicas, steps) for replicas, steps, _ in found] == [(2, 4), (1, 4)]
    assert largest_difference(found[0][2], found[1][2]) < 1e-5


def short(**fields):
    """Returns a recipe of two steps an epoch, at whose rate devices agree."""
    return recipe_of("undefended", train_examples=64, synchronized_bn=True, learning_rate=RATE, **fields)


@pytest.fixture(scope="module")
def of_one_device(tmp_path_factory):
    """Returns the weights that one device ends with after so many epochs of `short`, each trained once."""

    @functools.cache
    def train_for(epochs):
        with fresh_process() as executor:
            given = (tmp_path_factory.mktemp("alone") / "run", "none", short(epochs=epochs))
            return executor.submit(run, *given).result(timeout=300)[2]

    return train_for


@pytest.mark.slow
def test_a_run_goes_on_with_other_numbers_of_devices_as_with_one(tmp_path, on_devices, of_one_device):
    sittings = [(2, "mirrored"), (1, "none"), (2, "mirrored")]
    for epochs, (devices, name) in enumerate(sittings, 1):
        replicas, steps, weights = on_devices(devices, run, tmp_path / "run", name, short(epochs=epochs))
        assert (replicas, steps) == (devices, 2 * epochs)
    assert largest_difference(weights, of_one_device(len(sittings))) < 1e-5


def test_two_workers_train_and_end_with_the_weights_of_one(tmp_path, on_workers, of_one_device, pytestconfig):
    for epochs in (1, 2) if pytestconfig.getoption("--all") else (2,):
        results = on_workers(run, tmp_path / "both", "multi_worker", short(epochs=epochs))
        assert [(replicas, steps) for replicas, steps, _ in results] == 2 * [(2, 2 * epochs)]
    assert largest_difference(results[0][2], results[1][2]) == 0
    assert largest_difference(results[0][2], of_one_device(2)) < 1e-5
    assert len((tmp_path / "both" / "history.csv").read_text().splitlines()) == 3


def config(task, cluster=None):
    return json.dumps({"cluster": cluster or {"worker": ["a:1", "b:2"]}, "task": task})


FIRST = {"type": "worker", "index": 0}
MISTAKES = {
    "missing": None,
    "empty": "{}",
    "not JSON": "worker",
    "a list": "[1]",
    "a number": "1",
    "no task": json.dumps({"cluster": {"worker": ["a:1", "b:2"]}}),
    "a task that is a list": config(["worker", 0]),
    "a task without index": config({"type": "worker"}),
    "an index that is a word": config({"type": "worker", "index": "x"}),
    "an index beyond the workers": config({"type": "worker", "index": 5}),
    "an index below 0": config({"type": "worker", "index": -1}),
    "an unknown type": config({"type": "wrker", "index": 0}),
    "a type that the cluster lacks": config({"type": "chief", "index": 0}),
    "a cluster that is a list": config(FIRST, ["a:1"]),
    "a cluster of numbers": config(FIRST, {"worker": [1, 2]}),
    "addresses without ports": config(FIRST, {"worker": ["a", "b"]}),
    "two chiefs": config(FIRST, {"chief": ["a:1", "b:2"], "worker": ["c:3"]}),
    "parameter servers": config(FIRST, {"worker": ["a:1"], "ps": ["b:2"]}),
}


@pytest.mark.parametrize("value", MISTAKES.values(), ids=MISTAKES)
def test_multi_worker_without_a_cluster_and_a_place_in_it_is_refused(value, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if value is not None:
        monkeypatch.setenv("TF_CONFIG", value)
    with pytest.raises(InputError) as refused:
        make_strategy("multi_worker")
    assert str(refused.value).startswith("`distribution` of multi_worker needs the environment variable TF_CONFIG")
    assert str(refused.value).endswith(f"Received: {value or 'nothing'}")


@pytest.mark.parametrize(
    ("value", "index"),
    [
        (TF_CONFIG, 0),
        (config({"type": "worker", "index": "1"}), 1),
        (config({"type": "chief", "index": 0}, {"chief": ["a:1"], "worker": ["b:2"]}), 0),
    ],
)
def test_a_place_in_a_cluster_is_taken(value, index, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", value)
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", lambda resolver: resolver)
    assert make_strategy("multi_worker").task_id == index


@pytest.mark.parametrize(
    "error", ["Unavailable", "Aborted", "Cancelled", "DeadlineExceeded", "FailedPrecondition"], ids=str
)
def test_what_comes_of_a_lost_worker_is_told_only_where_there_are_several(error, monkeypatch):
    raised = getattr(tf.errors, f"{error}Error")(None, None, "peer is gone")
    with pytest.raises(type(raised)), workers_needed():
        raise raised
    monkeypatch.setattr("agkd_tf.distribution.has_several_workers", lambda: True)
    with pytest.raises(LostWorkerError, match=rf"what was saved is intact.*\({error}Error\)"), workers_needed():
        raise raised


def test_synchronised_bn_excludes_xla(digits):
    recipe = recipe_of("undefended", synchronized_bn=True)
    with pytest.raises(InputError, match="`jit_compile=False`"):
        recipe.build_defense(digits, jit_compile=True)
    assert not recipe.build_defense(digits, jit_compile="auto").use_xla


def test_a_student_that_cannot_be_compiled_is_refused_before_its_teacher_is_trained_or_anything_written(
    digits, tmp_path
):
    recipe = recipe_of("agkd_bml", synchronized_bn=True)
    with pytest.raises(InputError, match="`jit_compile=False`"):
        train(recipe, Workdir(tmp_path / "run"), digits, jit_compile=True)
    assert not (tmp_path / "run").exists()
