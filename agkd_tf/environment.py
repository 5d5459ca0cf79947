"""Describes the machine and the versions that numbers were measured with."""

import platform
from importlib import metadata
from typing import Any

import tensorflow as tf

from agkd_tf.processor import instruction_sets, num_cores, onednn_is_on, processor_name

PACKAGES = ("tensorflow", "keras", "cleverhans", "numpy")


def describe_environment() -> dict[str, Any]:
    """Returns a dict for JSON: processor and its use, accelerators, Python, and the packages that affect numbers."""
    accelerators = [
        tf.config.experimental.get_device_details(device).get("device_name", device.name)
        for device in tf.config.list_physical_devices()
        if device.device_type != "CPU"
    ]
    return {
        "processor": processor_name(),
        "instruction_sets": instruction_sets(),
        "onednn": onednn_is_on(),
        "cores": num_cores(),
        "accelerators": accelerators,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES},
    }
