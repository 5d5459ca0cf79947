"""What the processor can compute, and whether TensorFlow makes use of it."""

import functools
import pathlib
import platform
import warnings

import keras
import tensorflow as tf

from agkd_tf.errors import Note
from agkd_tf.keras_internals import all_layers, onednn_is_on

# What convolutions and matrix products run on, by the names of /proc/cpuinfo.
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


class SlowProcessorWarning(Note):
    """Says that a computation is slower than it could be on the processor at hand, and what to do about it."""


def processor_name() -> str:
    """Returns what the processor calls itself."""
    # `platform.processor` is empty on most Linux systems.
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def instruction_sets() -> list[str]:
    """Returns those of `INSTRUCTION_SETS` that the processor has, as a list; empty where the system does not say."""
    flags = _cpuinfo().get("flags", "").split()
    return [name for name in INSTRUCTION_SETS if name in flags]


def warn_of_slow_settings(model: keras.Model | None = None) -> None:
    """Warns, once a process, where the CPU computes and could do so in a fraction of the time.

    That is oneDNN switched off on an x86 processor, or a network in bfloat16 on a processor without instructions for
    it. Where there is an accelerator, nothing is said.

    Args:
        model: Keras model that is trained or evaluated; None where only its logits are known.
    """
    if any(device.device_type != "CPU" for device in tf.config.list_physical_devices()):
        return
    if platform.machine().lower() in ("x86_64", "amd64") and not onednn_is_on():
        _warn(
            "oneDNN is off, so that a step on this CPU takes about one and a half times as long: set "
            f"{ONEDNN_SWITCH}=1 in the environment before TensorFlow is imported"
        )
    sets = instruction_sets()
    layers = [] if model is None else all_layers(model)
    if any(layer.compute_dtype == "bfloat16" for layer in layers) and sets and BFLOAT16_SETS.isdisjoint(sets):
        _warn(
            "this CPU has no instructions for bfloat16, which takes several times as long as float32 on it: train the "
            "network in float32 (`mixed_precision='float32'`, or a dtype policy of 'float32')"
        )


@functools.cache  # once a process: Python's own memory of what was shown is lost whenever somebody touches a filter
def _warn(message: str) -> None:
    warnings.warn(message, SlowProcessorWarning, stacklevel=4)


@functools.cache
def _cpuinfo() -> dict[str, str]:
    """Returns what /proc/cpuinfo says of the first processor; empty on other systems than Linux."""
    information = pathlib.Path("/proc/cpuinfo")
    if not information.exists():
        return {}
    first, *_ = information.read_text().split("\n\n")
    entries = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in entries}
