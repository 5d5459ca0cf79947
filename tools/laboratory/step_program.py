"""The XLA program of a training step."""

from typing import Literal

import tensorflow as tf

from agkd_tf.benchmark.untrained import untrained_defense
from agkd_tf.data import ImageDataset
from agkd_tf.data.batches import training_batches
from agkd_tf.defenses import AGKD
from agkd_tf.errors import InputError
from agkd_tf.randomness import step_seed
from agkd_tf.training import Recipe
from tools.laboratory.floating_point import minimum_flops, program_flops


class StepProgram:
    """The XLA program of a recipe's training step, as text: attack, passes and gradients. Nothing is run.

    An attack with only a few steps is unrolled.

    Args:
        recipe: `agkd_tf.training.Recipe`.
        dataset: its `ImageDataset`.

    Raises:
        InputError: if the recipe cannot be built, or has synchronised BN, for which there is no such program.
    """

    def __init__(self, recipe: Recipe, dataset: ImageDataset) -> None:
        if recipe.synchronized_bn:
            raise InputError("`synchronized_bn` has no XLA program, so its operations cannot be counted")
        self._defense = untrained_defense(recipe, dataset, jit_compile=True)
        extra = recipe.load_extra(dataset)
        batches = training_batches(dataset.train, batch_size=recipe.batch_size, seed=recipe.seed, extra=extra)
        self._batch = next(iter(batches))

    def text(self, stage: Literal["hlo", "optimized_hlo", "stablehlo"] = "hlo") -> str:
        """Returns the program.

        Args:
            stage: "hlo", as TensorFlow writes it; "optimized_hlo", as XLA optimizes it; or "stablehlo".
        """
        step, batch = self._defense.training_step, self._batch

        def program(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, memory: dict[str, tf.Tensor]) -> tuple:
            return step.gradients(images, labels, seed, memory)

        compiled = tf.function(program, jit_compile=True, autograph=False)
        seed = step_seed(self._defense.seed, 0)
        arguments = batch["image"], batch["label"], seed, step.remembered(batch["index"])
        return compiled.experimental_get_compiler_ir(*arguments)(stage=stage)

    def flops(self) -> int:
        """Returns the floating-point operations of a step; see `program_flops`.

        Raises:
            InputError: if the attack has so many steps that it is not unrolled.
        """
        return program_flops(self.text())

    def minimum_flops(self) -> int | None:
        """Returns the fewest operations that the step needs (see the function `minimum_flops`), or None if unknown.

        The number is known for AGKD and AGKD-BML, both with their backward adversary.
        """
        defense = self._defense
        if not (isinstance(defense, AGKD) and defense.backward_adversary):
            return None
        return minimum_flops(defense.student, attack_steps=defense.attack_steps, batch_size=len(self._batch["label"]))
