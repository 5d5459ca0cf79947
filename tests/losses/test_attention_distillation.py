import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.losses import attention_distillation

STUDENT, TEACHER = np.random.default_rng(0).uniform(size=(2, 6, 4, 4)).astype(np.float32)


def test_it_equals_its_numpy_transcription():
    np.testing.assert_allclose(attention_distillation(STUDENT, TEACHER), np.abs(STUDENT - TEACHER).mean(), rtol=1e-6)


def test_a_case_worked_out_by_hand():
    student, teacher = tf.constant([[[0.0, 1.0], [0.5, 0.25]]]), tf.constant([[[1.0, 1.0], [0.0, 0.5]]])
    np.testing.assert_allclose(attention_distillation(student, teacher), 0.4375)  # (1 + 0 + 0.5 + 0.25) / 4


def test_equal_maps_cost_nothing():
    assert attention_distillation(STUDENT, STUDENT) == 0


def test_the_gradient_reaches_the_student_alone():
    student, teacher = tf.constant(STUDENT), tf.constant(TEACHER)
    with tf.GradientTape() as tape:
        tape.watch([student, teacher])
        loss = attention_distillation(student, teacher)
    to_student, to_teacher = tape.gradient(loss, [student, teacher])
    np.testing.assert_allclose(to_student, np.sign(STUDENT - TEACHER) / STUDENT.size, rtol=1e-6)
    assert to_teacher is None


def test_maps_that_agree_but_for_rounding_have_no_gradient():
    """1 and the number below it are what two compilers make of a map's maximum, divided by itself."""
    student = tf.constant([[[1.0 - 2.0**-24, 0.5]]])
    with tf.GradientTape() as tape:
        tape.watch(student)
        loss = attention_distillation(student, tf.constant([[[1.0, 0.4]]]))
    np.testing.assert_allclose(tape.gradient(loss, student), [[[0.0, 0.5]]])
    assert float(loss) == pytest.approx(0.05)
