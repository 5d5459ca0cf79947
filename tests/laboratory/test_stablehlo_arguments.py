import ml_dtypes
import numpy as np
import pytest

from agkd_tf.training import Recipe
from tools.laboratory.peers.stablehlo_arguments import main_types, random_argument
from tools.laboratory.step_program import StepProgram

MAIN = """module @step {
  func.func private @other(%arg0: tensor<9xf32>) -> tensor<9xf32> {
  func.func @main(%arg0: tensor<4x8x8x3xui8> {mhlo.sharding = "{}"} loc("XLA_Args"), %arg1: tensor<f32>, %a.2: tensor<5xbf16>, %arg3: tensor<2x2xi1>) -> (tensor<7xf32>) {
"""  # noqa: E501


def test_types_are_those_of_the_main_functions_arguments():
    assert main_types(MAIN) == [((4, 8, 8, 3), np.uint8), ((), np.float32), ((5,), ml_dtypes.bfloat16), ((2, 2), bool)]


@pytest.mark.parametrize("program", ["", "module {}", MAIN.replace("4x8", "?x8"), MAIN.replace("f32>, %a", "i4>, %a")])
def test_a_program_without_a_main_function_of_fixed_types_is_refused(program):
    with pytest.raises(ValueError, match=r"not StableHLO|of fixed size"):
        main_types(program)


def test_a_dumped_steps_arguments_are_the_batch_and_then_what_the_defense_keeps(digits):
    settings = {"attack_steps": 1}
    recipe = Recipe(model="wrn-10-1", batch_size=8, epochs=1, decay_epochs=(), hyperparameters=settings)
    types = main_types(StepProgram(recipe, digits).text("stablehlo", with_optimizer=True))
    assert types[:3] == [((8, 16, 16, 1), np.uint8), ((8,), np.int32), ((2,), np.int32)]
    assert types.count(((3, 3, 1, 16), np.float32)) == 3  # the student's, its momentum, the teacher's
    packed = (len(digits.train), 16 * 16 // 8)
    assert (packed, np.int64) in types
    generator = np.random.default_rng(0)
    for shape, dtype in types:
        array = random_argument(shape, dtype, 8, generator)
        assert (array.shape, array.dtype) == (shape, dtype)
        assert np.isfinite(array).all()


def test_numbers_are_such_that_a_step_can_compute_with_them():
    def argument(*shape, dtype="float32"):
        return random_argument(shape, np.dtype(dtype), 32, np.random.default_rng(0))

    labels = argument(1000, dtype="int32")
    assert set(labels) == set(range(1, 10))
    images = argument(32, 8, 8, 3, dtype="uint8")
    assert (images.min(), images.max()) == (0, 255)
    packed = argument(1000, 32, dtype="int64")
    assert np.unique(packed.view(np.uint8)).size == 256
    images = argument(32, 8, 8, 3)
    assert 0 <= images.min() < 0.1 < 0.9 < images.max() <= 1
    assert argument(1000).min() >= 0.5  # variances
    assert argument(3, 3, 16, 64).std() == pytest.approx(1 / 12, rel=0.1)
