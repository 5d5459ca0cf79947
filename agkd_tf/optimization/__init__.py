"""How weights move: SGD as in PyTorch, learning rate schedules, adversarial weight perturbation."""

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
from agkd_tf.optimization.weight_perturbation import perturbed_weights

__all__ = [
    "SCHEDULES",
    "SGD",
    "OneCycle",
    "Triangle",
    "WarmUp",
    "cosine_decay",
    "cycled_momentum",
    "learning_rate_schedule",
    "perturbed_weights",
    "step_decay",
]
