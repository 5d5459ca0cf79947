"""Measures how long a training step spends on each kind of operation."""

import pathlib
import re
import tempfile
import time
from collections.abc import Callable

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from agkd_tf.benchmark.untrained import untrained_defense
from agkd_tf.data import ImageDataset
from agkd_tf.data.batches import training_batches
from agkd_tf.errors import InputError
from agkd_tf.models.fused_batch_normalization import SCOPE
from agkd_tf.randomness import step_seed
from agkd_tf.training import Recipe

# Patterns of TensorFlow's operation names, with oneDNN and without. What is fused with a convolution counts as one.
KINDS = {
    "convolutions": re.compile(r"Conv2D$"),
    "by input": re.compile(r"Conv2DBackpropInput(V2)?$"),
    "by kernel": re.compile(r"Conv2DBackpropFilter(V2)?$"),
    "batch normalization": re.compile(r"BatchNorm"),
    "activations": re.compile(r"Relu"),
    "matrix products": re.compile(r"MatMul|Einsum"),
}
OTHERS = ("optimizer", "rest", "between")
# Operations that run other operations, which have entries of their own.
_CALL = re.compile(r"PartitionedCall$|^(Stateless)?(While|If|Case)$")
_OPERATION = re.compile(r"(?P<node>[\w./-]+):(?P<operation>\w+)")


def run_one_operation_at_a_time() -> None:
    """Makes TensorFlow run one operation at a time, on all cores, so that their seconds add up to a step's.

    Must be called before TensorFlow does anything else.
    """
    tf.config.threading.set_inter_op_parallelism_threads(1)


class StepProfile:
    """A recipe's training step on the CPU, without XLA, ready to run under TensorFlow's profiler.

    Student and teacher have random weights, which take as long as trained ones.

    Args:
        recipe: `agkd_tf.training.Recipe`.
        dataset: its `ImageDataset`.

    Raises:
        InputError: if the recipe cannot be built, or if there is a GPU, whose operations the profile would miss.
    """

    def __init__(self, recipe: Recipe, dataset: ImageDataset) -> None:
        if tf.config.list_physical_devices("GPU"):
            raise InputError("`profile` covers only operations on the CPU: hide the GPU with CUDA_VISIBLE_DEVICES=-1")
        self._defense = defense = untrained_defense(recipe, dataset, jit_compile=False)
        extra = recipe.load_extra(dataset)
        batches = training_batches(dataset.train, batch_size=recipe.batch_size, seed=recipe.seed, extra=extra)
        batch = next(iter(batches))
        step = defense.training_step
        arguments = batch["image"], batch["label"], step_seed(defense.seed, 0), step.remembered(batch["index"])
        compiled = tf.function(step.gradients, autograph=False)
        gradients, *_ = compiled(*arguments)
        update = tf.function(lambda: step.apply(gradients), autograph=False)
        self._passes, self._update = lambda: compiled(*arguments), update
        self.run(1)

    def run(self, steps: int) -> dict[str, float]:
        """Returns a dict of kind of operation -> seconds per step, the mean over `steps`.

        The kinds are those of `KINDS`, where "by input" and "by kernel" are the gradients of convolutions; "optimizer",
        all operations of the update; "rest", all other operations; and "between", the time between operations.
        """
        passes, of_passes = _profiled(self._passes, steps)
        update, of_update = _profiled(self._update, steps)
        seconds = dict.fromkeys((*KINDS, *OTHERS), 0.0)
        for node, operation, taken in passes:
            seconds[_kind(node, operation)] += taken
        seconds["optimizer"] = sum(taken for *_, taken in update)
        seconds["between"] = max(0.0, of_passes + of_update - sum(seconds.values()))
        return {kind: taken / steps for kind, taken in seconds.items()}


def _kind(node: str, operation: str) -> str:
    if SCOPE in node:
        return "batch normalization"
    return next((kind for kind, names in KINDS.items() if names.search(operation)), "rest")


def _profiled(call: Callable[[], object], steps: int) -> tuple[list[tuple[str, str, float]], float]:
    """Runs `steps` calls; returns (a list of (node, operation, seconds) of all operations, seconds of the calls)."""
    options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=2, python_tracer_level=0)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder, options):
            begin = time.perf_counter()
            for _ in range(steps):
                call()
            seconds = time.perf_counter() - begin
        (path,) = pathlib.Path(folder).rglob("*.xplane.pb")
        planes = xplane_pb2.XSpace.FromString(path.read_bytes()).planes
    operations = []
    for plane in planes:
        names = {number: _OPERATION.fullmatch(each.name) for number, each in plane.event_metadata.items()}
        for event in (event for line in plane.lines for event in line.events):
            name = names[event.metadata_id]
            if name and not _CALL.search(name["operation"]):
                operations.append((name["node"], name["operation"], event.duration_ps / 1e12))
    return operations, seconds
