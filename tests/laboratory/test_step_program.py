import re

import pytest

from agkd_tf.errors import InputError
from agkd_tf.training import Recipe
from tools.laboratory.floating_point import program_flops
from tools.laboratory.step_program import StepProgram

SETTINGS = {"model": "tiny", "batch_size": 8, "epochs": 1, "decay_epochs": ()}


def signature(hlo):
    """Returns the numbers of a program's inputs and results."""
    given, got = re.search(r"entry_computation_layout={\((.*)\)->\((.*)\)}", hlo).groups()
    return [len(re.findall(r"\w+\[", types)) for types in (given, got)]


@pytest.mark.parametrize(
    "changed", [{}, {"defense": "feature_scatter", "ema": 0.99}, {"mixed_precision": "float16", "weight_decay": 0.0}]
)
def test_the_optimizers_update_can_follow_the_gradients(changed, digits):
    one_step = {"hyperparameters": {"attack_steps": 1}, "defense": "at"}
    program = StepProgram(Recipe(**SETTINGS | one_step | changed), digits)
    variables = program._defense.student.trainable_variables
    begun = [weight.numpy() for weight in variables]
    alone, whole = (program.text(with_optimizer=with_optimizer) for with_optimizer in (False, True))
    (inputs, results), (more_inputs, more_results) = map(signature, (alone, whole))
    # The momenta come in; weights and momenta, in place of the gradients, go out.
    assert more_inputs >= inputs + len(variables)
    assert more_results >= results + len(variables)
    assert program_flops(whole) == program_flops(alone) > 0
    # Nothing was run.
    assert all((weight.numpy() == old).all() for weight, old in zip(variables, begun, strict=True))
    assert int(program._defense.optimizer.iterations) == 0


def test_synchronised_batch_normalization_has_no_program(digits):
    with pytest.raises(InputError, match="`synchronized_bn` has no XLA program"):
        StepProgram(Recipe(**SETTINGS, synchronized_bn=True), digits)
