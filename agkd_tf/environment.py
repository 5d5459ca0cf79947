"""What numbers were measured on."""

import os
import pathlib
import platform
from importlib import metadata

import tensorflow as tf

PACKAGES = ("tensorflow", "keras", "cleverhans", "numpy")


def describe_environment():
    """Returns for JSON: processor, cores, accelerators, Python and the packages that decide about numbers."""
    accelerators = [
        tf.config.experimental.get_device_details(device).get("device_name", device.name)
        for device in tf.config.list_physical_devices()
        if device.device_type != "CPU"
    ]
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "accelerators": accelerators,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES},
    }


def _processor():
    # `platform.processor` is empty on most Linux systems.
    information = pathlib.Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
