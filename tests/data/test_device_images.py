import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.kernels import get_registered_kernels_for_op

from agkd_tf import InputError
from agkd_tf.data import ClassPool, DeviceImages
from agkd_tf.data.device_images import resolve_resident

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(4, 4, 3), (3, 3, 1), (5, 7, 3)])
def test_images_come_back_as_the_host_has_them(shape):
    images = RANDOM.integers(0, 256, (9, *shape)).astype(np.uint8)
    kept = DeviceImages(images)
    rows = tf.constant([8, 0, 0, 5])
    found = kept.take(rows)
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, images[rows].astype(np.float32) / 255)
    assert 9 * np.prod(shape) <= kept.nbytes < 9 * (np.prod(shape) + 8)
    kept.replace(images[::-1])
    np.testing.assert_array_equal(kept.take(rows), images[::-1][rows].astype(np.float32) / 255)


def test_images_are_of_a_type_that_a_gpu_keeps():
    (variable,) = DeviceImages(np.zeros((1, 2, 2, 1), np.uint8)).variables
    for operation in ("VarHandleOp", "AssignVariableOp", "ResourceGather"):
        kernels = get_registered_kernels_for_op(operation).kernel
        # Without a GPU in sight, what is registered for "DEFAULT" is what one has beside its own.
        types = {
            value
            for kernel in kernels
            if kernel.device_type != "CPU"
            for constraint in kernel.constraint
            for value in constraint.allowed_values.list.type
        }
        assert tf.as_dtype(variable.dtype).as_datatype_enum in types, operation


def test_float_images_are_checked():
    np.testing.assert_allclose(DeviceImages(np.full((1, 2, 2, 1), 0.5)).take([0]), 128 / 255)
    with pytest.raises(InputError, match="divide by 255"):
        DeviceImages(np.full((1, 2, 2, 1), 9.0))


def test_a_pool_that_holds_all_images_gives_them_by_their_place():
    images = RANDOM.integers(0, 256, (30, 4, 4, 1)).astype(np.uint8)
    pool = ClassPool(images, RANDOM.permutation(np.arange(30) % 3), num_classes=3)
    rows = tf.constant([29, 0, 7, 7])
    np.testing.assert_array_equal(pool.take(rows), images[rows].astype(np.float32) / 255)


def test_images_stay_on_a_device_where_there_is_one_with_room(monkeypatch):
    def images(count):
        return np.broadcast_to(np.uint8(0), (count, 32, 32, 3))

    assert not resolve_resident("auto", images(50_000))
    assert resolve_resident(True, images(2))
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a device"] if kind == "GPU" else [])
    assert resolve_resident("auto", images(50_000))
    assert not resolve_resident("auto", images(1_281_167))
    assert not resolve_resident(False, images(2))
