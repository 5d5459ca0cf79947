"""Command lines: the only place that knows flags and prints."""

import contextlib
import os
import platform

from tools._quiet import without_startup_notes

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# TensorFlow looks at it when it is imported. By itself it uses oneDNN only on processors with instructions for neural
# networks, but other x86 processors are faster with it, too.
if platform.machine().lower() in ("x86_64", "amd64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# Without TensorFlow, `tools.laboratory.portable run` is all that works.
with contextlib.suppress(ModuleNotFoundError), without_startup_notes():
    import tensorflow as tf

    tf.config.list_physical_devices()
    # An evaluation traces one function for each attack; TensorFlow counts them together and warns of retracing.
    tf.get_logger().setLevel("ERROR")
