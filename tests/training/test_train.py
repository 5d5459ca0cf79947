"""A run in a folder: resume, teacher, recipes."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from agkd_tf import InputError
from agkd_tf.models.storage import load_classifier
from agkd_tf.training import NonFiniteLossError, Recipe, train
from agkd_tf.training.schedule import step_decay
from agkd_tf.workdir import Workdir

SMALL = Recipe(
    dataset="digits",
    train_examples=96,
    validation_examples=20,
    model="wrn-10-1",
    defense="agkd_bml",
    hyperparameters={"eps": 0.15, "validation_attack_steps": 1},
    batch_size=32,
    epochs=2,
    learning_rate=0.05,
    decay_epochs=(1,),
)


def undefended(**changes):
    settings = {"eps": 0.15, "validation_attack_steps": 1}
    return dataclasses.replace(SMALL, defense="undefended", hyperparameters=settings, **changes)


@pytest.fixture(scope="module")
def data():
    return SMALL.load_dataset()


def weights_of(run):
    return load_classifier("workdir", run.path).get_weights()


@pytest.mark.slow
def test_a_resumed_run_equals_an_unbroken_one(data, tmp_path):
    whole, broken = Workdir(tmp_path / "whole"), Workdir(tmp_path / "broken")
    train(SMALL, whole, data, verbose=0, panel_every=0)
    train(dataclasses.replace(SMALL, epochs=1), broken, data, verbose=0, panel_every=0)
    # The teacher of a run that has begun is not trained any further.
    teacher = weights_of(broken.teacher)
    train(SMALL, broken, data, verbose=0, panel_every=0)
    for a, b in zip(teacher, weights_of(broken.teacher), strict=True):
        np.testing.assert_array_equal(a, b)
    other = dataclasses.replace(SMALL, teacher=str(broken.teacher.path))
    reference = Workdir(tmp_path / "reference")
    train(other, reference, data, verbose=0, panel_every=0)
    for a, b in zip(weights_of(reference), weights_of(broken), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(np.any(a != b) for a, b in zip(weights_of(whole), weights_of(broken.teacher), strict=True))


@pytest.mark.slow
def test_two_runs_of_one_recipe_are_equal_and_write_tensorboard(data, tmp_path):
    runs = [Workdir(tmp_path / name) for name in ("a", "b")]
    recipe = dataclasses.replace(SMALL, epochs=1, decay_epochs=())
    for run in runs:
        train(recipe, run, data, verbose=0, panel_every=1)
    for a, b in zip(*map(weights_of, runs), strict=True):
        np.testing.assert_array_equal(a, b)
    tags = set()
    for file in runs[0].tensorboard.rglob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            tags |= {value.tag for value in event.summary.value}
    wanted = {"loss", "attention", "triplet", "embedding_norm", "cross_entropy", "accuracy", "robust_accuracy"}
    wanted |= {"learning_rate", "images_per_second"}
    assert {f"epoch_{name}" for name in wanted} <= tags
    assert "attention" in tags


def test_a_damaged_checkpoint_is_refused(data, tmp_path):
    run = Workdir(tmp_path / "run")
    recipe = undefended(epochs=1, decay_epochs=())
    train(recipe, run, data, verbose=0, panel_every=0)
    (path,) = run.checkpoints.glob("*.data-*")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged"):
        train(dataclasses.replace(recipe, epochs=2), run, data, verbose=0, panel_every=0)


def test_nan_stops_training_and_names_the_term(data, tmp_path):
    recipe = undefended(learning_rate=1e30, decay_epochs=())
    with pytest.raises(NonFiniteLossError, match="loss"):
        train(recipe, Workdir(tmp_path), data, verbose=0, panel_every=0)


def test_the_lower_rate_applies_from_the_milestones_first_step():
    rate = step_decay(0.1, decay_epochs=(2, 3), decay_rate=0.1, steps_per_epoch=10)
    assert [round(float(rate(step)), 6) for step in (0, 19, 20, 29, 30)] == [0.1, 0.1, 0.01, 0.01, 0.001]


def test_weight_decay_adds_wd_times_w_to_every_gradient(data):
    gradients = []
    for decay in (0.0, 0.1):
        recipe = undefended(weight_decay=decay)
        defense = recipe.build_defense(data)
        images, labels = tf.constant(data.train.images[:8]), tf.constant(data.train.labels[:8])
        gradients.append(defense._gradients(images, labels, tf.constant([0, 0]), {})[0])
    for plain, decayed, weight in zip(*gradients, defense.student.trainable_weights, strict=True):
        np.testing.assert_allclose(decayed - plain, 0.1 * weight.numpy(), atol=1e-5)


def test_contradictions_are_refused():
    with pytest.raises(InputError, match="does not apply to --defense=at"):
        Recipe(defense="at", hyperparameters={"mart": True})
    with pytest.raises(InputError, match="teacher"):
        Recipe(defense="at", teacher="x")
    with pytest.raises(InputError, match="mart_beta"):
        Recipe(hyperparameters={"mart_beta": 2.0})
    with pytest.raises(InputError, match="noinit_from_teacher"):
        Recipe(init_from="y", init_from_teacher=True)
    with pytest.raises(InputError, match="decay_epochs"):
        Recipe(decay_epochs=(3, 2))


def test_the_student_starts_from_the_teacher_a_file_or_afresh(data, tmp_path):
    def first_weights(recipe, teacher=None):
        return recipe.build_student(data, teacher).get_weights()

    fresh = first_weights(SMALL)
    other = dataclasses.replace(SMALL, seed=5).build_student(data)
    assert np.any(fresh[0] != other.get_weights()[0])
    np.testing.assert_array_equal(first_weights(SMALL, other)[0], other.get_weights()[0])
    unguided = dataclasses.replace(SMALL, init_from_teacher=False)
    np.testing.assert_array_equal(first_weights(unguided, other)[0], fresh[0])
    other.save(tmp_path / "own.keras")
    started = dataclasses.replace(SMALL, init_from=str(tmp_path / "own.keras"), init_from_teacher=False)
    np.testing.assert_array_equal(first_weights(started)[0], other.get_weights()[0])
    wider = dataclasses.replace(started, model="wrn-10-2")
    with pytest.raises(InputError, match="init_from"):
        wider.build_student(data)
