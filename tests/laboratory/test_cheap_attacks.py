import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.attacks import APGD, Ball
from tools.laboratory.agreement import Agreement
from tools.laboratory.masking import masked
from tools.laboratory.passes import CountedLogits, Passes

WEIGHTS = tf.constant(np.random.default_rng(0).normal(size=(12, 3)), tf.float32)


def linear(images):
    return tf.reshape(images, [-1, 12]) @ WEIGHTS


def test_each_image_is_counted_at_each_pass_and_the_logits_and_gradients_stay_what_they_are():
    counted, images = CountedLogits(linear), tf.random.stateless_uniform([5, 2, 2, 3], (0, 0))
    np.testing.assert_array_equal(counted(images), linear(images))
    assert counted.passes == Passes(5, 0)

    @tf.function
    def looped(x):
        found = tf.zeros_like(x)
        for _ in tf.range(4):
            with tf.GradientTape() as tape:
                tape.watch(x)
                total = tf.reduce_sum(counted(x)[:, 0])
            found += tape.gradient(total, x)
        return found

    np.testing.assert_allclose(looped(images)[0], 4 * tf.reshape(WEIGHTS[:, 0], [2, 2, 3]), rtol=1e-5)
    assert counted.passes == Passes(5 + 20, 20)
    assert counted.passes.total == 45
    counted.reset()
    assert counted.passes == Passes(0, 0)


def test_apgd_takes_a_pass_per_step_and_image_that_it_has_not_broken():
    images = tf.random.stateless_uniform([8, 2, 2, 3], (0, 0), 0.4, 0.6)
    labels = tf.argmax(linear(images), axis=1, output_type=tf.int32)

    def passes(eps):
        counted = CountedLogits(linear)
        ball, seed = Ball("linf", eps), tf.constant([0, 0])

        @tf.function(input_signature=[tf.TensorSpec([None, 2, 2, 3]), tf.TensorSpec([None], tf.int32)])
        def attack(x, y):
            return APGD(steps=10).perturb(counted, x, y, ball=ball, indices=tf.range(len(y)), seed=seed)

        attack(images, labels)
        return counted.passes

    assert passes(0.0) == Passes(8 * 11, 8 * 11)
    assert passes(0.4).total < 8 * 11


def test_masks_hide_the_gradient():
    images = tf.random.stateless_uniform([4, 2, 2, 3], (0, 0))
    with tf.GradientTape() as tape:
        tape.watch(images)
        rounded = masked(linear, "rounding")(images)
    assert not np.any(tape.gradient(rounded, images))
    np.testing.assert_allclose(masked(linear, "scaling")(images), 1000 * linear(images), rtol=1e-5)
    np.testing.assert_allclose(rounded, linear(np.round(images.numpy() * 7) / 7), atol=1e-5)
    assert masked(linear, None) is linear


def test_a_row_says_what_each_broke_alone():
    robust, reference = np.array([1, 1, 0, 0], bool), np.array([1, 0, 0, 1], bool)
    cells = Agreement("net", "malt", robust, reference, Passes(400, 200), 3.2).cells()
    assert cells == ["net", "malt", "50.0", "50.0", "1", "1", "50.0", "100", "50", "3"]


@pytest.mark.slow
@pytest.mark.parametrize("mask", [None, "scaling"])
def test_the_command_compares_with_the_record(tool, workdir, tmp_path, mask):
    flags = [f"--workdirs={workdir}", "--num_examples=3", "--attacks=malt-1,apgd-ce", f"--output={tmp_path}/cheap"]
    found = tool("laboratory.cheap_attacks", *flags, *([] if mask is None else [f"--mask={mask}"]))
    assert (found.returncode, found.stderr) == (0, "")
    name = "cheap" if mask is None else "cheap_scaling"
    rows = (tmp_path / "cheap" / f"{name}.md").read_text().splitlines()[2:]
    assert [row.split("|")[1:3] for row in rows] == [[" run ", " malt-1 "], [" run ", " apgd-ce "]]
    with np.load(tmp_path / "cheap" / f"{name}.npz") as outcomes:
        assert set(outcomes) == {"run/autoattack", "run/malt-1", "run/apgd-ce"}
        assert all(each.shape == (3,) for each in outcomes.values())


def test_bad_flags_are_one_line(tool, workdir):
    for flags, message in (
        ([f"--workdirs={workdir}"], "`workdirs` and `output` are needed"),
        ([f"--workdirs={workdir}", "--output=x", "--attacks=pgd-20"], "`attacks` must be among apgd-ce, "),
        ([f"--workdirs={workdir}", "--output=x", "--num_examples=401"], "`num_examples` must be at most 400."),
        (["--workdirs=none", "--output=x"], "`workdirs` has no flags.txt: it is not a run's folder"),
    ):
        found = tool("laboratory.cheap_attacks", *flags)
        assert found.returncode == 2
        assert message in found.stderr
        assert found.stderr.count("\n") == 1
