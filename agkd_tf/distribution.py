"""Training on several devices and machines with tf.distribute: strategies, and each replica's share of a batch."""

import contextlib
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from agkd_tf.errors import InputError, check_choice

ONE_MACHINE = ("none", "mirrored")
DISTRIBUTIONS = (*ONE_MACHINE, "multi_worker")
# Example of the variable's value, shown in the error message if it is missing or malformed.
TF_CONFIG = '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", "index": 0}}'


def make_strategy(distribution: str) -> tf.distribute.Strategy:
    """Returns the `tf.distribute.Strategy` called `distribution`. Everything must be built within its scope.

    Args:
        distribution: "none"; "mirrored" for all accelerators of this machine (or, without one, all logical CPU
            devices); "multi_worker" for the machines that TF_CONFIG names.

    Raises:
        InputError: for an unknown name, or for "multi_worker" if TF_CONFIG is missing or malformed.
    """
    check_choice("distribution", distribution, DISTRIBUTIONS)
    if distribution == "none":
        return tf.distribute.get_strategy()
    if distribution == "mirrored":
        kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
        return tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices(kind)])
    return tf.distribute.MultiWorkerMirroredStrategy(_cluster_resolver())


def _cluster_resolver() -> tf.distribute.cluster_resolver.ClusterResolver:
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    try:
        tasks = resolver.cluster_spec().as_dict()
        fits = (
            tasks.keys() <= {"chief", "worker"}
            and len(tasks.get("chief", ())) <= 1
            and all(re.fullmatch(r"\S+:\d+", address) for addresses in tasks.values() for address in addresses)
            and 0 <= resolver.task_id < len(tasks[resolver.task_type])
        )
    except (AttributeError, KeyError, TypeError, ValueError):  # not JSON, or JSON of another structure
        fits = False
    if not fits:
        raise InputError(
            "`distribution` of multi_worker needs the environment variable TF_CONFIG, which names all workers (and a "
            f"chief, if there is one) and says which of them this process is, such as {TF_CONFIG}. "
            f"Received: {os.environ.get('TF_CONFIG', 'nothing')}"
        )
    return resolver


# Errors that TensorFlow raises if a worker has died, cannot be reached, or was restarted as another process.
LOST_WORKER = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
)


class LostWorkerError(RuntimeError):
    """Raised when another worker no longer responds; the message says how to continue."""


class Share(NamedTuple):
    """Which parts of each batch the input pipeline of one host yields, one after the other.

    Attributes:
        first: number of the first part.
        parts: how many parts it yields, one for each replica of the host.
        replicas: into how many parts a batch is divided.
    """

    first: int = 0
    parts: int = 1
    replicas: int = 1


WHOLE = Share()


def distributed(make: Callable[..., tf.data.Dataset]) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """Returns a dataset for `fit` under the current strategy.

    Args:
        make: callable with the keyword argument `share`, a `Share`. It returns a `tf.data.Dataset` of those parts of
            each batch, or of whole batches without the argument.
    """
    strategy = tf.distribute.get_strategy()
    if strategy.num_replicas_in_sync == 1:
        return make()

    def of_host(context: tf.distribute.InputContext) -> tf.data.Dataset:
        parts = context.num_replicas_in_sync // context.num_input_pipelines
        return make(share=Share(context.input_pipeline_id * parts, parts, context.num_replicas_in_sync))

    return strategy.distribute_datasets_from_function(of_host)


def by_all_replicas(step: Callable[..., tuple[tf.Tensor, ...]]) -> Callable[..., tuple[tf.Tensor, ...]]:
    """Returns a callable (rows, *others) that computes `step(*rows, *others)` with the rows split among all replicas.

    `rows` are tensors [B, ...] with B divisible by the number of replicas. Every replica gets all of `others`.

    Args:
        step: `tf.function` that returns a tuple of tensors [B, ...]; each of their rows may depend only on the same
            row of each tensor in `rows`.
    """
    strategy = tf.distribute.get_strategy()
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return lambda rows, *others: step(*rows, *others)

    # This wraps `step`, since TensorFlow would otherwise compile all replicas into one XLA program. It runs in a graph,
    # so that the replicas can run at the same time.
    def step_of_one(*arguments: Any) -> tuple[tf.Tensor, ...]:
        return step(*arguments)

    run = tf.function(lambda *arguments: strategy.run(step_of_one, arguments), autograph=False, reduce_retracing=True)

    def parts(tensor: tf.Tensor) -> tf.distribute.DistributedValues:
        pieces = tf.split(tensor, replicas)
        return strategy.experimental_distribute_values_from_function(
            lambda context: pieces[context.replica_id_in_sync_group]
        )

    def step_of_all(rows: Sequence[tf.Tensor], *others: Any) -> tuple[tf.Tensor, ...]:
        found = run(*map(parts, rows), *others)
        return tuple(tf.concat(strategy.experimental_local_results(each), 0) for each in found)

    return step_of_all


def has_several_workers() -> bool:
    """Returns whether the current strategy spans several processes."""
    return isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy)


def is_chief() -> bool:
    """Returns whether this process is the one that writes the files that all workers share."""
    resolver = tf.distribute.get_strategy().cluster_resolver
    if resolver is None or resolver.task_type is None:
        return True
    return resolver.task_type == "chief" or (
        resolver.task_type == "worker" and resolver.task_id == 0 and "chief" not in resolver.cluster_spec().jobs
    )


@contextlib.contextmanager
def workers_needed() -> Iterator[None]:
    """In the block, turns an error caused by the loss of another worker into a `LostWorkerError`."""
    try:
        yield
    except LOST_WORKER as error:
        if not has_several_workers():
            raise
        raise LostWorkerError(
            "another worker no longer responds: training stopped; what was saved is intact; start the same "
            f"command on all workers to continue ({type(error).__name__})"
        ) from error


def wait_for_workers() -> None:
    """Blocks until all workers have called this function."""
    strategy = tf.distribute.get_strategy()
    if strategy.num_replicas_in_sync > 1:
        strategy.reduce("SUM", strategy.run(lambda: tf.constant(1.0)), axis=None).numpy()


def num_replicas() -> int:
    """Returns the number of replicas that share a batch."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def not_finite_for_all(gradients: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
    """Returns a replica's gradients; the first is set to NaN if any replica has a gradient that is not finite.

    Keras' loss scaling checks only one replica's gradients. If another replica's gradients overflow, the invalid sum
    would be applied, or one worker would wait for a sum that the other skips.

    Args:
        gradients: tensors, for the same variables in each replica.
    """
    if num_replicas() == 1:
        return gradients
    finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients])
    overflows = tf.distribute.get_replica_context().all_reduce("SUM", tf.cast(~finite, tf.float32))
    first, *others = gradients
    return [tf.where(overflows > 0, tf.constant(math.nan, first.dtype), first), *others]


def share_mean(variables: Sequence[Any]) -> None:
    """Sets each replica's copy of each variable to the mean of all copies; does nothing with one replica.

    Args:
        variables: Keras float variables whose copies each replica changes independently.
    """
    if num_replicas() == 1 or not variables:
        return
    # A value read from a variable has no device in a graph, but the reduction over workers requires one.
    means = mean_over_replicas([tf.identity(tf.convert_to_tensor(variable)) for variable in variables])
    for variable, mean in zip(variables, means, strict=True):
        variable.assign(mean)


def mean_over_replicas(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Returns the mean over the replicas of each tensor, of which each replica has its own.

    Args:
        tensors: float tensors, of the same shapes in each replica.
    """
    if num_replicas() == 1:
        return list(tensors)
    return list(tf.distribute.get_replica_context().all_reduce("MEAN", list(tensors)))


def replica_share(draw: Callable[[Any], tf.Tensor], shape: Sequence[int] | tf.Tensor, batch_axis: int) -> tf.Tensor:
    """Draws random numbers for the whole batch and returns this replica's part of them.

    Several replicas thus get the same numbers as a single replica with the whole batch.

    Args:
        draw: callable: shape -> tensor.
        shape: shape of this replica's part.
        batch_axis: axis along which the batch is split among replicas.
    """
    replicas = num_replicas()
    if replicas == 1 or tf.distribute.in_cross_replica_context():
        return draw(shape)
    shape = tf.convert_to_tensor(shape, tf.int32)
    position = tf.one_hot(batch_axis, tf.size(shape), dtype=tf.int32)
    whole = draw(shape * (1 + (replicas - 1) * position))
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return tf.slice(whole, position * replica * shape, shape)


def all_rows(tensor: tf.Tensor) -> tf.Tensor:
    """Returns the rows [B, ...] of all replicas, concatenated in the replicas' order."""
    if num_replicas() == 1 or tf.distribute.in_cross_replica_context():
        return tensor
    return tf.distribute.get_replica_context().all_gather(tensor, axis=0)
