"""Every training step and every attack is one program that XLA compiles for a GPU, shown on any machine."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.attacks import Ball, parse_attack
from agkd_tf.benchmark.untrained import untrained_defense
from agkd_tf.data import load_dataset
from agkd_tf.defenses import DEFENSES, AdversarialTraining
from agkd_tf.errors import InputError
from agkd_tf.models import Classifier, build_model
from agkd_tf.training import Recipe
from tests.matrices import crossed, fast_for
from tools.laboratory.portable.programs import attack_program, step_program, validation_program
from tools.laboratory.stablehlo import check_portable, lowered

BATCH, SHAPE = 8, (8, 8, 1)
PRECISIONS = ("float32", "bfloat16", "float16")
BALLS = {"linf": Ball("linf", 0.1), "l2": Ball("l2", 1.0)}
# Each attack of an evaluation, and each part of AutoAttack.
ATTACKS = ("clean", "fgsm-rs", "pgd-3", "cw-3", "mim-3", "pgd-3@mc", "apgd-ce", "apgd-dlr", "apgd-t", "fab-t", "square")


@pytest.fixture(scope="module")
def data():
    return load_dataset("digits", image_size=8, train_examples=80, validation_examples=20)


@pytest.fixture(scope="module")
def classifier():
    return Classifier(build_model("tiny", image_shape=SHAPE, num_classes=10))


def step_of(name, data, precision="float32", platform="GPU", **settings):
    """Returns the program of a defense's step: augmentation, pool, moving average, decay and optimizer included."""
    recipe = Recipe(
        model="tiny",
        image_size=8,
        train_examples=80,
        validation_examples=20,
        defense=name,
        batch_size=BATCH,
        epochs=1,
        decay_epochs=(),
        augmentation="crop_flip",
        mixed_precision=precision,
        ema=0.9,
        **settings,
    )
    defense = untrained_defense(recipe, data, jit_compile=False, resident=True)
    return step_program(defense, batch_size=BATCH, total_steps=10, platform=platform)


@pytest.mark.parametrize("name", fast_for(DEFENSES))
def test_a_defenses_step_lowers_for_a_gpu(name, data):
    precision = PRECISIONS[list(DEFENSES).index(name) % len(PRECISIONS)]  # each in some defenses
    program, scalars = step_of(name, data, precision)
    assert "loss" in scalars
    computes = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}[precision]
    convolutions = [line for line in program.text.splitlines() if "stablehlo.convolution" in line]
    assert convolutions
    assert all(f"x{computes}>" in line.rpartition("->")[2] for line in convolutions)


@pytest.mark.parametrize(("norm", "name"), crossed(BALLS, ATTACKS))
def test_an_attack_lowers_for_a_gpu(name, norm, classifier):
    ball = BALLS[norm]
    for part in parse_attack(name, eps=ball.eps, norm=norm, num_classes=10).attacks:
        program = attack_program(classifier, part, ball, image_shape=SHAPE, batch_size=BATCH)
        assert ("stablehlo.while" in program.text) == (part.name not in ("clean",))


def test_a_training_attack_in_l2_lowers_for_a_gpu(data):
    step_of("at", data, hyperparameters={"norm": "l2", "eps": 0.5})


def test_a_validation_lowers_for_a_gpu_as_for_a_cpu(data):
    model = build_model("tiny", image_shape=SHAPE, num_classes=10)
    defense = AdversarialTraining(model, validation_attack_steps=2)
    programs = [validation_program(defense, batch_size=BATCH, platform=platform) for platform in ("GPU", "CPU")]
    assert programs[0] == programs[1]
    assert "loc(" not in programs[0][0].text  # no paths of this machine travel
    assert programs[0][1] == ["loss", "accuracy", "robust_accuracy"]


def test_a_program_for_a_gpu_is_that_for_a_cpu_and_two_exports_are_of_one_text(data):
    texts = []
    for platform in ("GPU", "CPU"):
        # TensorFlow orders independent operations by their names, and Keras numbers those: model_10 is before model_9.
        keras.utils.clear_session()
        texts.append(step_of("agkd_bml", data, platform=platform)[0].text)
    assert texts[0] == texts[1]


def test_a_step_is_one_program_for_all_batches(data):
    traced = []

    class Counting(AdversarialTraining):
        def craft(self, clean, labels, seed):
            traced.append(clean.shape)
            return super().craft(clean, labels, seed)

    defense = Counting(build_model("tiny", image_shape=SHAPE, num_classes=10), attack_steps=1)
    defense.compile(keras.optimizers.SGD(0.1), jit_compile=True)
    for number in range(3):
        images = np.random.default_rng(number).random((BATCH, *SHAPE), np.float32)
        defense.train_on_batch(images, np.arange(BATCH) % 10)
    assert traced == [(BATCH, *SHAPE)]


NUMBERS, STATE = tf.TensorSpec([8], tf.float32), tf.Variable(1.0)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: [tf.linalg.qr(tf.reshape(x, [2, 4]))[0]], "no custom calls. Received: "),
        (lambda x: [tf.boolean_mask(x, x > 0.0) * 2.0], "must have fixed shapes"),
        (lambda x: [x + STATE], "no variables"),
    ],
)
def test_what_would_not_travel_is_refused(function, message):
    with pytest.raises(InputError, match=message):
        lowered(function, [NUMBERS])


def test_constants_follow_the_arguments():
    table = tf.constant(np.arange(300, dtype=np.float32))
    program = lowered(lambda x: [x + table[:8], tf.math.top_k(x, 3)[0]], [NUMBERS])
    (constant,) = program.constants
    np.testing.assert_array_equal(constant, table)
    assert program.text.partition("@main")[2].partition("->")[0].count("tensor<300xf32>") == 1


def test_a_program_of_another_dialect_is_refused():
    with pytest.raises(InputError, match=r"must use only StableHLO\. Received: operations of mhlo"):
        check_portable("%0 = mhlo.topk(%arg0) : tensor<8xf32>")
