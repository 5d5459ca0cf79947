"""A run that is trained in another norm than l_inf is evaluated, shown and reported as one of that norm."""

import dataclasses

import pytest

import agkd_tf
from agkd_tf.attacks import Ball
from agkd_tf.errors import InputError
from agkd_tf.evaluation import read_evaluation
from agkd_tf.report import TABLES, Run, filled_table
from agkd_tf.report.tables import measured_on
from agkd_tf.training import TrainingOptions, TrainingRun
from agkd_tf.visualization import draw_attention
from agkd_tf.workdir import Workdir
from tests.trainings import tiny_recipe

RECIPE = tiny_recipe(
    "at",
    batch_size=32,
    validation_attack_steps=1,
    hyperparameters={"norm": "l2", "eps": 1.5, "attack_steps": 2},
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(folder of a run in l_2, its defense)."""
    folder = tmp_path_factory.mktemp("l2") / "run"
    return folder, TrainingRun(RECIPE, folder, options=TrainingOptions(progress="off", panel_every=1)).run()


def evaluated(folder, digits, **settings):
    settings = {"attacks": ["clean", "pgd-2"], "num_examples": 20, "folder": folder, "progress": "off"} | settings
    return agkd_tf.evaluate(str(folder), digits.test, **settings)


def test_its_own_ball_is_what_an_evaluation_takes_and_says(run, digits):
    folder, defense = run
    assert defense.ball == Ball("l2", 1.5)
    assert "l2 eps 1.5" in evaluated(folder, digits).title
    found = read_evaluation(Workdir(folder).evaluation)["attacks"]["pgd-2 [first 20]"]
    assert (found["attack"][0]["norm"], found["attack"][0]["eps"]) == ("l2", 1.5)
    other = evaluated(folder, digits, norm="linf", eps=0.1)
    assert "linf eps 0.1" in other.title
    assert other["pgd-2"].settings[0]["norm"] == "linf"
    with pytest.raises(InputError, match=r"`norm` linf needs `eps=SIZE`.*the run's own is in l2"):
        evaluated(folder, digits, norm="linf")


def test_nothing_of_l_inf_is_made_of_it_unasked(run, digits):
    folder, _ = run
    with pytest.raises(InputError, match="was trained in l2, but figures use attacks in linf: give `eps=SIZE`"):
        draw_attention(str(folder), digits.test)
    settings = dataclasses.replace(RECIPE, dataset="cifar10").settings()
    result = {"accuracy": 0.5, "num_examples": 10000, "confidence_interval_95": [0.49, 0.51]}
    of_l2 = Run(str(folder), settings, {"clean": result, "pgd-20": result}, None)
    of_linf = dataclasses.replace(of_l2, settings=settings | {"norm": "linf", "eps": 8 / 255})
    assert "l2 eps 1.5" in measured_on([of_l2])
    assert "linf" not in measured_on([of_linf])
    table = next(table for table in TABLES if table.number == "6a")
    assert ["50.00" in filled_table(table, [[each]]).markdown() for each in (of_l2, of_linf)] == [False, True]


def test_a_defense_in_another_norm_needs_its_radius(digits):
    network = RECIPE.build_student(digits)
    with pytest.raises(InputError, match="`norm='l2'` needs `eps`, the radius in that norm: the default, 8/255, is"):
        agkd_tf.AdversarialTraining(network, norm="l2")
    with pytest.raises(InputError, match="`eps`"):
        agkd_tf.AdversarialTraining(network, eps=1.5)
