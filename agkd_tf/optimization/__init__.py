"""Optimizers and learning rate schedules: what Keras has, and what the papers' PyTorch code needs beside it."""

from agkd_tf.optimization.schedule import (
    SCHEDULES,
    OneCycle,
    Triangle,
    WarmUp,
    cosine_decay,
    cycled_momentum,
    learning_rate_schedule,
    step_decay,
)
from agkd_tf.optimization.sgd import SGD

__all__ = [
    "SCHEDULES",
    "SGD",
    "OneCycle",
    "Triangle",
    "WarmUp",
    "cosine_decay",
    "cycled_momentum",
    "learning_rate_schedule",
    "step_decay",
]
