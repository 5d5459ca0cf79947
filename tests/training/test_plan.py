"""What a training would be, before it is one."""

import dataclasses

import pytest

from agkd_tf import InputError
from agkd_tf.training import plan_training
from tests.trainings import tiny_recipe

RECIPE = tiny_recipe("agkd_bml", epochs=3, validation_attack_steps=10, teacher_epochs=2)


@pytest.fixture(scope="module")
def data():
    return RECIPE.load_dataset()


def test_a_plan_counts_what_would_be_trained(data):
    plan = plan_training(RECIPE, data, resident=True)
    defense = RECIPE.build_defense(data, teacher=RECIPE.build_teacher(data))
    student, trainable = defense.student, sum(weight.numpy().size for weight in defense.student.trainable_weights)
    assert (plan.trainable_parameters, plan.bn_statistics) == (trainable, student.count_params() - trainable)
    assert (plan.num_train, plan.num_validation, plan.num_test) == (64, 20, len(data.test))
    assert (plan.steps_per_epoch, plan.steps, plan.teacher_steps) == (4, 12, 8)
    assert plan.state_bytes == 4 * (2 * student.count_params() + 2 * trainable)  # student and teacher, SGD's momentum
    assert plan.image_bytes == 64 * 16 * 16
    assert not plan.use_xla
    lines = str(plan).splitlines()
    assert lines[0] == f"Data:        64 training, 20 validation, {len(data.test)} test images 16x16x1, 10 classes"
    assert lines[2] == "Steps:       4 per epoch, 12 in total, and 8 for the teacher"
    assert [line.partition(":")[0] for line in lines[3:]] == ["Work", "XLA", "oneDNN", "Memory"]


def test_a_plan_without_a_teacher_counts_none(data):
    changes = {"teacher_epochs": None, "init_from_teacher": None, "hyperparameters": {}}
    recipe = dataclasses.replace(RECIPE, defense="undefended", **changes)
    plan = plan_training(recipe, data, resident=False, jit_compile=True)
    assert (plan.teacher_steps, plan.image_bytes, plan.use_xla) == (0, 0, True)
    assert str(plan).splitlines()[2] == "Steps:       4 per epoch, 12 in total"
    guided = plan_training(RECIPE, data, resident=False)
    assert guided.state_bytes - plan.state_bytes == 4 * (plan.trainable_parameters + plan.bn_statistics)


def test_what_cannot_be_trained_has_no_plan(data):
    with pytest.raises(InputError, match="`batch_size` must be in"):
        plan_training(dataclasses.replace(RECIPE, batch_size=65), data)
