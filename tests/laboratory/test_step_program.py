import pytest

from agkd_tf.errors import InputError
from agkd_tf.training import Recipe
from tools.laboratory.step_program import StepProgram

SETTINGS = {"model": "tiny", "batch_size": 8, "epochs": 1, "decay_epochs": ()}


def test_synchronised_batch_normalization_has_no_program(digits):
    with pytest.raises(InputError, match="`synchronized_bn` has no XLA program"):
        StepProgram(Recipe(**SETTINGS, synchronized_bn=True), digits)
