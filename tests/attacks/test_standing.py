"""The loop whose batch shrinks gives what a loop with all images gives."""

import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.attacks.standing import while_standing

NEEDED = np.array([0, 9, 3, 1, 9, 2, 50, 4], np.int32)  # iterations until an image is done
STEPS = 12


def plain():
    """Returns (sums, counts) of a loop per image: what is added depends on the iteration and the image alone."""
    sums, counts = np.zeros(len(NEEDED)), np.zeros(len(NEEDED), int)
    for row, needed in enumerate(NEEDED):
        for step in range(min(needed, STEPS)):
            sums[row] += (row + 1) * (step + 1)
            counts[row] += 1
    return sums, counts


@pytest.mark.parametrize("size", [None, len(NEEDED)])
def test_the_outputs_are_those_of_each_image_alone_and_a_batch_of_unknown_size_shrinks(size):
    sizes = []

    def body(count, rows, state):
        tf.py_function(lambda rows: sizes.append(len(rows)), [rows], [])
        sums, left, counts = state
        going = left > 0
        added = tf.cast((rows + 1) * (count + 1), tf.float32)
        return tf.where(going, sums + added, sums), left - 1, counts + tf.cast(going, tf.int32)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([size], tf.int32)])
    def loop(left):
        state = (tf.zeros(tf.shape(left)), left, tf.zeros(tf.shape(left), tf.int32))
        if size is not None:
            state = tuple(tf.ensure_shape(each, [size]) for each in state)
        return while_standing(
            body, state, steps=STEPS, done=lambda state: state[1] <= 0, output=lambda state: (state[0], state[2])
        )

    sums, counts = loop(NEEDED)
    np.testing.assert_array_equal(sums, plain()[0])
    np.testing.assert_array_equal(counts, plain()[1])
    if size is None:
        assert sizes[0] == len(NEEDED)
        assert sizes[-1] == 1
        assert sorted(sizes, reverse=True) == sizes
        assert sum(sizes) < sum(np.minimum(NEEDED, STEPS)) / 0.75 + len(NEEDED)
    else:
        assert sizes == STEPS * [len(NEEDED)]


def test_it_ends_when_all_are_done_and_an_empty_batch_is_left_alone():
    steps = []

    def body(count, rows, state):
        steps.append(int(count))
        return tf.maximum(state - 1, 0)

    found = while_standing(body, tf.constant([2, 1]), steps=9, done=lambda s: s <= 0, output=lambda s: s)
    assert steps == [0, 1]
    assert found.numpy().tolist() == [0, 0]
    empty = while_standing(body, tf.zeros([0]), steps=9, done=lambda s: s <= 0, output=lambda s: s)
    assert empty.shape == (0,)
