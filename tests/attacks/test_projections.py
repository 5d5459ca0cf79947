import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

from agkd_tf.attacks import NORMS
from agkd_tf.attacks.projections import onto_hyperplane

RNG = np.random.default_rng(0)


def problem(size=12, count=40):
    rng = np.random.default_rng(1)
    points = np.clip(rng.uniform(-0.3, 1.3, (count, size)), 0, 1)
    normals = rng.normal(size=(count, size)) * (rng.uniform(size=(count, size)) > 0.2)
    inside = rng.uniform(size=(count, size))
    offsets = (normals * inside).sum(1)  # a hyperplane that meets the box
    return (array.astype(np.float32) for array in (points, normals, offsets))


@pytest.mark.parametrize("norm", NORMS)
def test_the_result_lies_on_the_hyperplane_and_in_the_box(norm):
    points, normals, offsets = problem()
    moved = points + onto_hyperplane(points, normals, offsets, norm=norm).numpy()
    np.testing.assert_allclose((normals * moved).sum(1), offsets, atol=1e-4)
    assert moved.min() >= -1e-6
    assert moved.max() <= 1 + 1e-6


@pytest.mark.parametrize("norm", NORMS)
def test_no_shorter_way_is_found_by_a_general_solver(norm):
    points, normals, offsets = problem(size=6, count=8)
    found = onto_hyperplane(points, normals, offsets, norm=norm).numpy()
    for x, w, b, d in zip(np.float64(points), np.float64(normals), np.float64(offsets), found, strict=True):
        if norm == "linf":  # a linear program: minimise t with |d_i| <= t
            eye = np.eye(6)
            ones = np.ones((6, 1))
            result = scipy.optimize.linprog(
                [0] * 6 + [1],
                A_ub=np.block([[eye, -ones], [-eye, -ones]]),
                b_ub=np.zeros(12),
                A_eq=[[*w, 0]],
                b_eq=[b - w @ x],
                bounds=[*zip(-x, 1 - x, strict=True), (0, None)],
            )
            assert np.abs(d).max() == pytest.approx(result.fun, abs=1e-4)
        else:
            result = scipy.optimize.minimize(
                lambda d: (d**2).sum(),
                np.zeros(6),
                jac=lambda d: 2 * d,
                bounds=list(zip(-x, 1 - x, strict=True)),
                constraints={"type": "eq", "fun": lambda d, w=w, x=x, b=b: w @ (x + d) - b},
            )
            assert np.linalg.norm(d) == pytest.approx(np.sqrt(result.fun), abs=2e-3)


@pytest.mark.parametrize("norm", NORMS)
def test_out_of_reach_it_goes_to_the_nearest_corner_and_a_zero_normal_moves_nothing(norm):
    points, normals = np.full((2, 3), 0.5, np.float32), np.array([[1.0, -2.0, 0.0], [0.0, 0.0, 0.0]], np.float32)
    moved = points + onto_hyperplane(points, normals, np.array([100.0, 5.0], np.float32), norm=norm).numpy()
    np.testing.assert_allclose(moved, [[1.0, 0.0, 0.5], [0.5, 0.5, 0.5]])


def test_a_case_worked_out_by_hand():
    # 2 x + y = 1 from (1, 1): by t on both, 3 - 3 t = 1; for l_2, along the normal, 3 - 5 t = 1.
    point, normal, offset = np.ones((1, 2), np.float32), np.array([[2.0, 1.0]], np.float32), np.ones(1, np.float32)
    np.testing.assert_allclose(onto_hyperplane(point, normal, offset), [[-2 / 3, -2 / 3]], rtol=1e-6)
    np.testing.assert_allclose(onto_hyperplane(point, normal, offset, norm="l2"), [[-0.8, -0.4]], rtol=1e-6)


def test_it_is_the_same_under_xla():
    arrays = [tf.constant(array) for array in problem()]
    compiled = tf.function(onto_hyperplane, jit_compile=True, autograph=False)
    np.testing.assert_allclose(compiled(*arrays), onto_hyperplane(*arrays), atol=1e-5)
