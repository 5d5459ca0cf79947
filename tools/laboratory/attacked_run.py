"""Runs whose networks the laboratory attacks."""

import pathlib
from typing import NamedTuple

from agkd_tf.data import Examples
from agkd_tf.errors import InputError
from agkd_tf.models import Classifier
from agkd_tf.models.storage import load_classifier
from agkd_tf.training import Recipe
from agkd_tf.training.recipe_file import read_recipe
from agkd_tf.workdir import Workdir
from tools import _flags
from tools._remedies import named_by_flags


class AttackedRun(NamedTuple):
    """A run's network and the test images to attack it on.

    Attributes:
        name: the name of the run's folder.
        recipe: what it was trained by.
        classifier: its network.
        examples: `Examples` of the test split.
    """

    name: str
    recipe: Recipe
    classifier: Classifier
    examples: Examples


def attacked_run(workdir: str, num_examples: int | None, *, flag: str = "workdir") -> AttackedRun:
    """Returns the run in a folder, with its data from the place that the flags name.

    Args:
        workdir: the folder.
        num_examples: number of test images, the first ones; None for all.
        flag: the flag that names the folder, for messages.

    Raises:
        InputError: if there is no run, or the split has fewer images.
    """
    with named_by_flags(workdir=flag):
        recipe = read_recipe(Workdir(workdir).flags)
        classifier = Classifier(load_classifier("workdir", workdir))
    examples = recipe.load_dataset(**_flags.data_place()).test
    if num_examples is not None and num_examples > len(examples):
        raise InputError(f"`num_examples` must be at most {len(examples)}. Received: {num_examples}")
    return AttackedRun(pathlib.Path(workdir).name, recipe, classifier, examples.take(slice(0, num_examples)))
