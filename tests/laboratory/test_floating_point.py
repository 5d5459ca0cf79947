import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from agkd_tf.errors import InputError
from agkd_tf.models import build_model
from agkd_tf.models.forward_pass import forward_flops
from agkd_tf.training import Recipe
from tools.laboratory.breakdown import BreakdownBenchmark
from tools.laboratory.floating_point import minimum_flops, program_flops
from tools.laboratory.step_program import StepProgram


def hlo(function, *arguments):
    return tf.function(function, jit_compile=True).experimental_get_compiler_ir(*arguments)(stage="hlo")


def test_products_and_convolutions_are_counted_as_by_hand():
    images, kernel = tf.ones((2, 9, 8, 3)), tf.ones((3, 3, 3, 5))
    left, right = tf.ones((4, 7)), tf.ones((7, 6))
    assert program_flops(hlo(lambda a, b: a @ b, left, right)) == 2 * 4 * 7 * 6
    convolution = hlo(lambda x, k: tf.nn.conv2d(x, k, 1, "SAME"), images, kernel)
    assert program_flops(convolution) == 2 * 2 * 9 * 8 * 3 * 3 * 3 * 5
    strided = hlo(lambda x, k: tf.nn.conv2d(x, k, 2, "VALID"), images, kernel)
    assert program_flops(strided) == 2 * 2 * 4 * 3 * 3 * 3 * 3 * 5
    grouped = hlo(lambda x, k: tf.nn.conv2d(x, k, 1, "SAME"), tf.ones((2, 9, 8, 6)), tf.ones((3, 3, 3, 4)))
    assert program_flops(grouped) == 2 * 2 * 9 * 8 * 3 * 3 * 3 * 4


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolutions_gradients_cost_as_much_as_itself(stride):
    images, kernel = tf.ones((2, 8, 8, 3)), tf.ones((3, 3, 3, 5))

    def gradients(images, kernel):
        with tf.GradientTape() as tape:
            tape.watch([images, kernel])
            convolved = tf.nn.conv2d(images, kernel, stride, [[0, 0], [1, 1], [1, 1], [0, 0]])
        return tape.gradient(convolved, [images, kernel])

    both = program_flops(hlo(gradients, images, kernel))
    one = program_flops(hlo(lambda *given: gradients(*given)[0], images, kernel))
    forward = 2 * 2 * (8 // stride) ** 2 * 3 * 3 * 3 * 5
    assert (both, one) == (2 * forward, forward)


def test_operations_in_branches_and_functions_count_and_in_loops_are_refused():
    left, right = tf.ones((4, 4)), tf.ones((4, 4))
    called = hlo(lambda a, b: tf.cond(a[0, 0] > 0, lambda: a @ b, lambda: a), left, right)
    assert program_flops(called) == 2 * 4**3

    def looped(a, b):
        return tf.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x @ b), (0, a))[1]

    with pytest.raises(InputError, match="in a loop"):
        program_flops(hlo(looped, left, right))
    with pytest.raises(InputError, match="not HLO"):
        program_flops("module {}")


def test_a_networks_forward_pass_is_counted_as_its_program_is():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(5, 3, strides=2, padding="same")(inputs)
    model = keras.Model(inputs, layers.Dense(7)(layers.GlobalAveragePooling2D()(x)))
    assert [flops for _, flops in forward_flops(model)] == [2 * 4 * 4 * 3 * 3 * 3 * 5, 2 * 5 * 7]
    model = build_model("resnet-50", image_shape=(64, 64, 3), num_classes=200)
    program = hlo(lambda images: model(images), tf.ones((2, 64, 64, 3)))
    assert program_flops(program) == 2 * sum(flops for _, flops in forward_flops(model))


@pytest.mark.parametrize("steps", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_a_step_of_agkd_bml_does_no_more_than_it_must(digits, steps):
    settings = {"attack_steps": steps}
    recipe = Recipe(
        model="wrn-10-1", defense="agkd_bml", batch_size=16, epochs=1, decay_epochs=(), hyperparameters=settings
    )
    program = StepProgram(recipe, digits)
    counted, minimum = program.flops(), program.minimum_flops()
    student = recipe.build_student(digits)
    assert minimum == minimum_flops(student, attack_steps=steps, batch_size=16)
    forward = sum(flops for _, flops in forward_flops(student))
    assert minimum == pytest.approx(16 * forward * (12 + 4 * steps), rel=0.01)
    assert counted == pytest.approx(minimum, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("defense", "settings"), [("at", {}), ("bml", {}), ("agkd", {"backward_adversary": False})])
def test_the_least_of_other_steps_is_not_known(digits, defense, settings):
    small = {"model": "wrn-10-1", "batch_size": 16, "epochs": 1, "decay_epochs": ()}
    recipe = Recipe(**small, defense=defense, hyperparameters=settings)
    assert StepProgram(recipe, digits).minimum_flops() is None


def test_the_counted_step_is_one_that_runs(digits):
    recipe = Recipe(model="tiny", defense="at", batch_size=16, epochs=1, decay_epochs=())
    text = StepProgram(recipe, digits).text("stablehlo")
    assert "stablehlo.convolution" in text
    assert "stablehlo.while" not in text
    benchmark = BreakdownBenchmark(recipe, digits, jit_compile=False)
    parts = benchmark.breakdown(2)
    assert set(parts) == {"waiting", "attack", "student", "optimizer"}
    parts.pop("waiting")  # zero, where batches are there in time
    assert all(seconds > 0 for seconds in parts.values())
    assert np.isfinite(benchmark.run(1)).all()
