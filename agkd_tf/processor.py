"""Finds out which instructions the processor has, and warns if TensorFlow runs slower than it could."""

import functools
import os
import pathlib
import platform
import warnings

import keras
import tensorflow as tf

from agkd_tf.errors import Note
from agkd_tf.keras_internals import all_layers, onednn_is_on

# Instruction sets that speed up convolutions and matrix products, by their names in /proc/cpuinfo.
INSTRUCTION_SETS = (
    "avx",
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_bf16",
    "avx_ne_convert",
)
BFLOAT16_SETS = {"avx512_bf16", "amx_bf16", "avx_ne_convert"}
ONEDNN_SWITCH = "TF_ENABLE_ONEDNN_OPTS"
THREADS_SWITCH, OPERATION_SWITCH = "TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS"


class SlowProcessorWarning(Note):
    """Says that computation is slower than this processor allows, and what to do about it."""


def processor_name() -> str:
    """Returns the processor's model name."""
    # `platform.processor` is empty on most Linux systems.
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def instruction_sets() -> list[str]:
    """Returns a list of those `INSTRUCTION_SETS` that the processor has; empty if the system does not report them."""
    flags = _cpuinfo().get("flags", "").split()
    return [name for name in INSTRUCTION_SETS if name in flags]


def num_cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_accelerator() -> bool:
    """Returns whether there is a device beside the processor, which computes instead."""
    return any(device.device_type != "CPU" for device in tf.config.list_physical_devices())


def num_threads() -> int:
    """Returns how many operations TensorFlow computes at once: its `inter_op_parallelism_threads`, else one a core.

    Beside an accelerator, which computes instead, it is 1.
    """
    if has_accelerator():
        return 1
    switch = os.environ.get(THREADS_SWITCH, "")
    chosen = tf.config.threading.get_inter_op_parallelism_threads() or int(switch if switch.isdecimal() else 0)
    return chosen or num_cores()


def warn_of_slow_settings(model: keras.Model | None = None) -> None:
    """Warns, once per process, if settings make computation on the CPU much slower than necessary.

    These are oneDNN switched off on an x86 processor, and a network in bfloat16 on a processor without instructions
    for it. With an accelerator, there is no warning.

    Args:
        model: Keras model that is trained or evaluated; None if only a callable to logits is known.
    """
    if has_accelerator():
        return
    if platform.machine().lower() in ("x86_64", "amd64") and not onednn_is_on():
        _warn(
            "oneDNN is off, so a step on this CPU takes about one and a half times as long: set "
            f"{ONEDNN_SWITCH}=1 in the environment before TensorFlow is imported"
        )
    sets = instruction_sets()
    layers = [] if model is None else all_layers(model)
    if any(layer.compute_dtype == "bfloat16" for layer in layers) and sets and BFLOAT16_SETS.isdisjoint(sets):
        _warn(
            "this CPU has no instructions for bfloat16, so it takes several times as long as float32: train the "
            "network in float32 (`mixed_precision='float32'`, or a dtype policy of 'float32')"
        )


@functools.cache  # once per process: Python forgets which warnings it has shown whenever a warnings filter changes
def _warn(message: str) -> None:
    warnings.warn(message, SlowProcessorWarning, stacklevel=4)


@functools.cache
def _cpuinfo() -> dict[str, str]:
    """Returns the entries of /proc/cpuinfo for the first processor; empty on systems other than Linux."""
    information = pathlib.Path("/proc/cpuinfo")
    if not information.exists():
        return {}
    first, *_ = information.read_text().split("\n\n")
    entries = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in entries}
