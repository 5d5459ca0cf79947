"""What several laboratory tests attack."""

import pytest

from agkd_tf.models import build_model
from agkd_tf.training import Recipe
from agkd_tf.training.recipe_file import write_recipe
from agkd_tf.workdir import Workdir


@pytest.fixture
def workdir(tmp_path):
    """A run of a network that was never trained."""
    found = Workdir(tmp_path / "run")
    write_recipe(found.flags, Recipe(dataset="digits", model="wrn-10-1", defense="at", hyperparameters={"eps": 0.01}))
    build_model("wrn-10-1", image_shape=(16, 16, 1), num_classes=10).save(found.student)
    return found.path
