"""What a training would be, without training."""

import numpy as np

from agkd_tf.models import build_model
from agkd_tf.training.recipe import PRECISIONS
from tools import _flags


def describe(recipe, dataset, *, jit_compile):
    """Returns the resolved recipe, parameter counts, steps and an estimate of memory, as text."""
    raise SystemExit(0)
