"""Each core's share of a batch, where a processor computes."""

import concurrent.futures
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from agkd_tf.processor import OPERATION_SWITCH, has_accelerator, num_threads

LEAST = 4  # images a core; with fewer, starting the operations costs more than another core saves


def leave_cores_to_images(threads: int | None = None) -> None:
    """Has TensorFlow compute an operation on one core, since `by_all_cores` gives each core images of its own.

    It is for evaluations, before TensorFlow has computed anything: a training step needs all cores for each operation.
    Nothing changes beside an accelerator, or if the environment has TF_NUM_INTRAOP_THREADS.

        agkd_tf.cores.leave_cores_to_images()
        print(agkd_tf.evaluate("classifier.keras", x_test, y_test, eps=8 / 255))

    Args:
        threads: how many cores compute; None for all.

    Raises:
        RuntimeError: if TensorFlow has computed something already.
    """
    if threads is not None:
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    if OPERATION_SWITCH not in os.environ and not has_accelerator():
        tf.config.threading.set_intra_op_parallelism_threads(1)


def by_all_cores(step: tf.types.experimental.ConcreteFunction) -> Callable[..., tuple[tf.Tensor, ...]]:
    """Returns a callable (rows, *others) that computes `step(*rows, *others)` with the rows split among all cores.

    TensorFlow splits each operation among the cores, and all wait for the last one each time. With images of its own,
    a core waits once a batch. Beside an accelerator, for few rows, and where `step` calls back into Python, whose code
    may not bear it (an interpreter of TensorFlow Lite does not), it is one call of `step`.

    Args:
        step: as for `agkd_tf.distribution.by_all_replicas`, traced; it may run several times at once, in any order.
    """
    most = 1 if _calls_python(step) else num_threads()

    def step_of_all(rows: Sequence[tf.Tensor], *others: Any) -> tuple[tf.Tensor, ...]:
        shares = max(1, min(most, len(rows[0]) // LEAST))
        if shares == 1:
            return step(*rows, *others)
        ends = [len(rows[0]) * number // shares for number in range(shares + 1)]
        parts = [[row[begin:end] for row in rows] for begin, end in itertools.pairwise(ends)]
        with concurrent.futures.ThreadPoolExecutor(shares) as pool:
            found = list(pool.map(lambda part: step(*part, *others), parts))
        return tuple(tf.concat(pieces, 0) for pieces in zip(*found, strict=True))

    return step_of_all


def _calls_python(step: tf.types.experimental.ConcreteFunction) -> bool:
    try:
        graph = step.graph.as_graph_def()
    except ValueError:  # 2 GiB of constants or more: unknown
        return True
    nodes = itertools.chain(graph.node, *(function.node_def for function in graph.library.function))
    return any("PyFunc" in node.op for node in nodes)
