"""Command lines: the only place that knows flags and prints."""

import os

from tools._quiet import without_startup_notes

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

with without_startup_notes():
    import tensorflow as tf

    tf.config.list_physical_devices()

# An evaluation traces one function for each attack; TensorFlow counts them together and warns of retracing.
tf.get_logger().setLevel("ERROR")
