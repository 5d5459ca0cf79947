"""The most memory that a benchmark's process takes while it runs."""

import contextlib
import gc
import pathlib
import re

import tensorflow as tf

GPU = "GPU:0"


def reset_peak_memory() -> None:
    """Lets `peak_memory` begin anew, from what is taken at this moment.

    A benchmark calls it when its data is loaded and its model built, before its first step. Where the system does not
    permit it (it takes Linux), the process' peak remains the one since its start.
    """
    gc.collect()
    if _has_accelerator():
        tf.config.experimental.reset_memory_stats(GPU)
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> dict[str, float | str]:
    """Returns the peak since `reset_peak_memory` for JSON: `peak_memory_mib` and `peak_memory_of`.

    Of "accelerator" it is what TensorFlow had of the first one's memory. Of "process" it is all resident memory:
    the program itself, its libraries, the data set, weights, and what the steps took.
    """
    if _has_accelerator():
        peak, owner = tf.config.experimental.get_memory_info(GPU)["peak"], "accelerator"
    else:
        # Not getrusage's: that begins with the peak of the process that started this one, and is never reset.
        (kibibytes,) = re.findall(r"^VmHWM:\s*(\d+) kB$", pathlib.Path("/proc/self/status").read_text(), re.MULTILINE)
        peak, owner = 1024 * int(kibibytes), "process"
    return {"peak_memory_mib": peak / 2**20, "peak_memory_of": owner}


def _has_accelerator() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))
