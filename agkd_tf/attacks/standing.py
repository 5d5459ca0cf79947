"""A loop over iterations of an attack, whose batch shrinks as images fall."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

# Fewer images than this share of the batch must be left before the others are taken out, which copies the state.
SHARE_LEFT = 0.75


def while_standing(
    body: Callable[[tf.Tensor, tf.Tensor, Any], Any],
    state: Any,
    *,
    steps: int,
    done: Callable[[Any], tf.Tensor],
    output: Callable[[Any], Any],
) -> Any:
    """Iterates until every image is done, and returns the output of each image's last state.

    An image that is done leaves the batch soon after, so that the rest of the batch costs less. This needs a batch of
    unknown size: XLA compiles for one size, and there all images stay until the last one is done. The outputs are the
    same, since they do not change once an image is done.

    Args:
        body: callable, (number of the iteration, int32; rows, int32 [b]; state) -> next state. `rows` are the images'
            places in the batch at the start, by which the body picks what it needs beside the state.
        state: nested tensors [B, ...]; every entry belongs to its own image only.
        steps: largest number of iterations.
        done: callable, state -> bool [b], whether an image's output is final.
        output: callable, state -> nested tensors [b, ...].

    Returns:
        What `output` gives, [B, ...].
    """
    first = tf.nest.flatten(state)[0]
    shrinks = first.shape[0] is None
    rows = tf.range(tf.shape(first)[0])

    def step(count: tf.Tensor, rows: tf.Tensor, state: Any, outputs: Any) -> tuple[tf.Tensor, tf.Tensor, Any, Any]:
        state = body(count, rows, state)
        if not shrinks:
            return count + 1, rows, state, outputs
        left = tf.where(~done(state))[:, 0]
        few = tf.cast(tf.size(left), tf.float32) < SHARE_LEFT * tf.cast(tf.size(rows), tf.float32)

        def leave() -> tuple[tf.Tensor, Any, Any]:
            found = _put(outputs, rows, output(state))
            kept = tf.nest.map_structure(lambda each: tf.gather(each, left), (rows, state))
            return *kept, found

        return count + 1, *tf.cond(few, leave, lambda: (rows, state, outputs))

    _, rows, state, outputs = tf.while_loop(
        lambda count, rows, state, outputs: tf.logical_and(count < steps, ~tf.reduce_all(done(state))),
        step,
        (tf.constant(0), rows, state, output(state)),
        parallel_iterations=1,
    )
    return _put(outputs, rows, output(state))


def _put(outputs: Any, rows: tf.Tensor, found: Any) -> Any:
    return tf.nest.map_structure(
        lambda whole, part: tf.tensor_scatter_nd_update(whole, rows[:, None], part), outputs, found
    )
