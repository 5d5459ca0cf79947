"""A training with auxiliary images."""

import dataclasses

import numpy as np
import pytest

from agkd_tf import InputError
from agkd_tf.benchmark import TrainingBenchmark
from agkd_tf.data.extra import Extra
from agkd_tf.training import plan_training
from agkd_tf.training.recipe_file import read_recipe
from agkd_tf.workdir import Workdir
from tests.trainings import tiny_recipe, train


@pytest.fixture(scope="module")
def data():
    return tiny_recipe("undefended").load_dataset()


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "extra.npz")


def write(path, seed=0):
    rng = np.random.default_rng(seed)
    np.savez(path, image=rng.integers(0, 256, (30, 16, 16, 1)).astype(np.uint8), label=rng.integers(0, 10, 30))
    return str(path)


def test_a_run_continues_with_its_auxiliary_images_and_refuses_others(data, tmp_path, path):
    recipe = tiny_recipe("undefended", extra_data=path, epochs=2)
    assert (recipe.extra_fraction, recipe.extra_per_batch) == (0.7, 11)
    assert recipe.steps_per_epoch(data) == 64 // 5
    whole = train(recipe, Workdir(tmp_path / "whole"), data)
    run = Workdir(tmp_path / "run")
    train(dataclasses.replace(recipe, epochs=1), run, data)
    assert read_recipe(run.path) == dataclasses.replace(recipe, epochs=1)
    continued = train(recipe, run, data)
    assert int(continued.step.numpy()) == 24
    for one, two in zip(whole.student.get_weights(), continued.student.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    write(path, seed=1)
    message = r"is of a training with other auxiliary images or labels \(`extra_data`\) than now"
    with pytest.raises(InputError, match=message):
        train(dataclasses.replace(recipe, epochs=3), run, data)


@pytest.mark.slow
def test_other_auxiliary_images_give_another_student(data, tmp_path):
    kernels = []
    for seed in (0, 1):
        recipe = tiny_recipe("undefended", extra_data=write(tmp_path / f"{seed}.npz", seed), extra_fraction=0.5)
        kernels.append(train(recipe, Workdir(tmp_path / f"run_{seed}"), data).student.get_weights()[0])
    assert not np.allclose(*kernels)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"extra_fraction": 0.5}, "`extra_fraction` has no effect without `extra_data`"),
        ({"extra_data": "a.npz", "extra_fraction": 0.0}, "Received: 0 auxiliary images of `batch_size=16`"),
        ({"extra_data": "a.npz", "extra_fraction": 1.0}, "Received: 16 auxiliary images of `batch_size=16`"),
        ({"extra_data": "a.npz", "defense": "cat_ce"}, "`defense='cat_ce'`, which stores something for each"),
    ],
)
def test_what_has_no_effect_or_does_not_work_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        tiny_recipe(**{"defense": "undefended", **fields})


def test_images_stay_on_the_host(data, tmp_path, path):
    recipe = tiny_recipe("undefended", extra_data=path)
    with pytest.raises(InputError, match="with `extra_data`, leave `resident` out"):
        train(recipe, Workdir(tmp_path / "run"), data, resident=True)
    with pytest.raises(InputError, match="with `extra_data`, leave `resident` out"):
        recipe.build_defense(data, resident=True)


@pytest.mark.slow
def test_a_pool_holds_the_data_sets_own_images(data, tmp_path, path):
    recipe = tiny_recipe("sml", extra_data=path, hyperparameters={"attack_steps": 1})
    defense = train(recipe, Workdir(tmp_path / "run"), data)
    assert defense.resident is None
    assert defense.pool.image_shape == (16, 16, 1)
    assert int(defense.step.numpy()) == 12


def test_a_dry_run_finds_mistakes_and_a_benchmark_reads_the_same_batches(data, tmp_path, path):
    recipe = tiny_recipe("undefended", extra_data=path)
    assert plan_training(recipe, data).steps_per_epoch == 12
    with pytest.raises(InputError, match=r"`extra_data` missing\.npz cannot be read"):
        plan_training(dataclasses.replace(recipe, extra_data="missing.npz"), data)
    extra = recipe.load_extra(data)
    assert isinstance(extra, Extra)
    batch = next(iter(TrainingBenchmark(recipe, data, jit_compile=False).read_batches(with_images=True)))
    assert (batch["index"].numpy() < 0).sum() == 11
