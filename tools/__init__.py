"""Command-line tools: the only place that reads flags."""

import contextlib
import os
import platform

from tools._quiet import without_startup_notes

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# TensorFlow reads this variable on import. By default, it uses oneDNN only on processors with instructions for neural
# networks, but other x86 processors are faster with it, too.
if platform.machine().lower() in ("x86_64", "amd64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# Without TensorFlow, only `tools.laboratory.portable run` works.
with contextlib.suppress(ModuleNotFoundError), without_startup_notes():
    import tensorflow as tf

    tf.config.list_physical_devices()
    # An evaluation traces one function per attack; TensorFlow counts them together and would warn of retracing.
    tf.get_logger().setLevel("ERROR")
