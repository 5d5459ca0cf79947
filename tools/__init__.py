"""Command lines: the only place that knows flags and prints."""

import os

# TensorFlow's start-up notes would stand above every message of ours; errors still show.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
