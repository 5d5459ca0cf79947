"""The base class of attacks that consist of others, each run on the images that the earlier ones did not fool."""

import abc

import tensorflow as tf

from agkd_tf.attacks.attack import Attack
from agkd_tf.attacks.ball import Ball
from agkd_tf.attacks.crafting import Logits, first_that_fools
from agkd_tf.attacks.pgd import Clean


class Ensemble(Attack):
    """Several attacks in a fixed order. Images that are misclassified without any perturbation are not attacked."""

    variants = 1

    @property
    @abc.abstractmethod
    def parts(self) -> tuple[Attack, ...]:
        """The attacks in order."""

    def resolve(self, num_classes: int | None) -> tuple[Attack, ...]:
        return (Clean(), *(part.resolve(num_classes)[-1] for part in self.parts))

    def perturb(
        self,
        logits: Logits,
        images: tf.Tensor,
        labels: tf.Tensor,
        *,
        ball: Ball,
        indices: tf.Tensor,
        seed: tf.Tensor,
        variant: int | tf.Tensor = 0,
    ) -> tf.Tensor:
        stages = self.stages(logits(images).shape[1])
        return first_that_fools(stages, logits, images, labels, ball, indices, seed)

    def settings(self, ball: Ball) -> dict:
        return {"name": self.name, "eps": ball.eps, "norm": ball.norm}
