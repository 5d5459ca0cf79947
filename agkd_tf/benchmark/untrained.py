"""Builds a defense with random weights for a benchmark."""

from agkd_tf.compilation import JitCompile
from agkd_tf.data import ImageDataset
from agkd_tf.defenses import Defense
from agkd_tf.training import Recipe


def untrained_defense(
    recipe: Recipe, dataset: ImageDataset, *, jit_compile: JitCompile, resident: bool = False
) -> Defense:
    """Returns a recipe's compiled defense with random weights in student and teacher; trained ones cost the same.

    Args:
        recipe: `agkd_tf.training.Recipe`.
        dataset: its `ImageDataset`.
        jit_compile: see `Defense.compile`.
        resident: whether the training images stay on the device.

    Raises:
        InputError: if the recipe cannot be built.
    """
    teacher = recipe.build_teacher(dataset) if recipe.needs_teacher else None
    return recipe.build_defense(dataset, teacher=teacher, jit_compile=jit_compile, resident=resident)
