"""Training: recipes, checkpoints, and resumable runs of `fit`."""

from agkd_tf.training.callbacks import NonFiniteLossError
from agkd_tf.training.checkpoints import has_begun
from agkd_tf.training.interruption import InterruptedTrainingError
from agkd_tf.training.listener import TrainingListener
from agkd_tf.training.options import TrainingOptions
from agkd_tf.training.plan import Plan, plan_training
from agkd_tf.training.recipe import Recipe, default_hyperparameters
from agkd_tf.training.recipe_file import read_recipe, write_recipe
from agkd_tf.training.run import TrainedElsewhere, TrainingRun

__all__ = [
    "InterruptedTrainingError",
    "NonFiniteLossError",
    "Plan",
    "Recipe",
    "TrainedElsewhere",
    "TrainingListener",
    "TrainingOptions",
    "TrainingRun",
    "default_hyperparameters",
    "has_begun",
    "plan_training",
    "read_recipe",
    "write_recipe",
]
