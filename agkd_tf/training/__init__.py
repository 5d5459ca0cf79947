"""Training: recipes, checkpoints, and the loop around `fit`."""

from agkd_tf.training.callbacks import NonFiniteLossError
from agkd_tf.training.checkpoints import has_begun
from agkd_tf.training.interruption import InterruptedTrainingError
from agkd_tf.training.recipe import Recipe, default_hyperparameters
from agkd_tf.training.train import train

__all__ = [
    "InterruptedTrainingError",
    "NonFiniteLossError",
    "Recipe",
    "default_hyperparameters",
    "has_begun",
    "train",
]
