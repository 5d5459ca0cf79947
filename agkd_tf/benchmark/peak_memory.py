"""Peak memory of a benchmark's process."""

import contextlib
import gc
import pathlib
import re

import tensorflow as tf

GPU = "GPU:0"


def reset_peak_memory() -> None:
    """Resets the peak that `peak_memory` returns to the memory in use now.

    A benchmark calls it once its data is loaded and its model is built, before its first step. If the system does not
    allow the reset (only Linux does), the peak of the process counts from its start.
    """
    gc.collect()
    if _has_accelerator():
        tf.config.experimental.reset_memory_stats(GPU)
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> dict[str, float | str]:
    """Returns the peak since `reset_peak_memory` as a dict for JSON: `peak_memory_mib` and `peak_memory_of`.

    For "accelerator", it is the memory of the first accelerator that TensorFlow used. For "process", it is all
    resident memory: the program, its libraries, the data set, the weights, and what the steps use.
    """
    if _has_accelerator():
        peak, owner = tf.config.experimental.get_memory_info(GPU)["peak"], "accelerator"
    else:
        # Not from getrusage: its peak starts at that of the parent process and cannot be reset.
        (kibibytes,) = re.findall(r"^VmHWM:\s*(\d+) kB$", pathlib.Path("/proc/self/status").read_text(), re.MULTILINE)
        peak, owner = 1024 * int(kibibytes), "process"
    return {"peak_memory_mib": peak / 2**20, "peak_memory_of": owner}


def _has_accelerator() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))
