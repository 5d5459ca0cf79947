import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from agkd_tf.losses import gradient_matching, softened_divergence

RNG = np.random.default_rng(0)
TEACHER, STUDENT, BEHIND, OTHER = RNG.normal(0, 3, (4, 12, 7))


def kl(p_logits, q_logits):
    p, q = (scipy.special.softmax(logits, axis=1) for logits in (p_logits, q_logits))
    return scipy.special.rel_entr(p, q).sum(axis=1).mean()


def of(loss, *logits, **settings):
    return float(loss(*map(tf.constant, logits), **settings))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 30.0])
def test_the_softened_divergence_is_its_formula(temperature):
    expected = temperature**2 * kl(TEACHER / temperature, STUDENT / temperature)
    assert of(softened_divergence, TEACHER, STUDENT, temperature=temperature) == pytest.approx(expected, rel=1e-9)


def test_a_high_temperature_compares_centred_logits():
    """Its limit: T^2 KL tends to the sum of squared differences of centred logits, over 2 n."""
    teacher, student = (logits - logits.mean(axis=1, keepdims=True) for logits in (TEACHER, STUDENT))
    limit = np.square(teacher - student).sum(axis=1).mean() / (2 * TEACHER.shape[1])
    assert of(softened_divergence, TEACHER, STUDENT, temperature=1e4) == pytest.approx(limit, rel=1e-3)


def test_a_case_worked_out_by_hand():
    # At T = 2, p = (3/4, 1/4) and q = (1/4, 3/4): 4 (3/4 log 3 - 1/4 log 3).
    logits = np.array([[2 * np.log(3.0), 0.0]]), np.array([[0.0, 2 * np.log(3.0)]])
    assert of(softened_divergence, *logits, temperature=2.0) == pytest.approx(2 * np.log(3))


def test_gradient_matching_is_its_formula():
    found = of(gradient_matching, TEACHER, BEHIND, STUDENT, OTHER)
    assert found == pytest.approx(kl(TEACHER - BEHIND, STUDENT - OTHER), rel=1e-9)


def test_gradient_matching_is_zero_where_student_and_teacher_differ_by_a_constant_or_nothing_moves():
    assert of(gradient_matching, TEACHER, BEHIND, TEACHER + OTHER, BEHIND + OTHER) == pytest.approx(0, abs=1e-9)
    assert of(gradient_matching, TEACHER, TEACHER, STUDENT, STUDENT) == pytest.approx(0, abs=1e-12)
    assert of(gradient_matching, TEACHER, BEHIND, STUDENT, STUDENT) > 0.1


def test_gradients_reach_teacher_and_student():
    logits = [tf.constant(each) for each in (TEACHER, BEHIND, STUDENT, OTHER)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        matched, softened = gradient_matching(*logits), softened_divergence(*logits[::2], temperature=3.0)
    assert all(float(tf.norm(gradient)) > 0 for gradient in tape.gradient(matched, logits))
    assert all(float(tf.norm(gradient)) > 0 for gradient in tape.gradient(softened, logits[::2]))
