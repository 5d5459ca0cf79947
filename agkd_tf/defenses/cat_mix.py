"""Customized adversarial training with cross-entropy and margin (CAT-MIX)."""

from typing import Annotated, Any

import keras
import tensorflow as tf

from agkd_tf.attacks.objectives import margin
from agkd_tf.defenses.cat_ce import CATCE
from agkd_tf.defenses.defense import Tensors
from agkd_tf.losses import margin_hinge
from agkd_tf.settings import Range, Weight


@keras.saving.register_keras_serializable(package="agkd_tf")
class CATMix(CATCE):
    """Adds a margin on the logits to `CATCE`, in the loss and in the attack.

        L = L of CATCE + hinge_weight * mean max(0, max_{k != y} z_k - z_y + confidence)
        attack: ascends the soft cross-entropy - max(0, z_y - max_{k != y} z_k + confidence)

    The default weight of 1 is our choice, since the sources disagree (the released code sums eps_i times the hinge over
    the batch, about four times as much at the largest eps). The confidence, kappa, is 10 in the paper.

    Args:
        student: as `Defense`.
        **kwargs: as `CATCE`.

    Source: Cheng et al., CAT: Customized Adversarial Training for Improved Robustness, IJCAI 2022.
    """

    def __init__(
        self,
        student: keras.Model,
        *,
        hinge_weight: Annotated[Weight, "Weight of the hinge loss."] = 1.0,
        confidence: Annotated[float, Range(0.0), "kappa: margin that the hinge loss demands."] = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(student, **kwargs)

    @property
    def term_weights(self) -> dict[str, float]:
        return super().term_weights | {"hinge": self.hinge_weight}

    def attack_objective(self, logits: tf.Tensor, labels: tf.Tensor, soft_labels: tf.Tensor) -> tf.Tensor:
        return super().attack_objective(logits, labels, soft_labels) + margin(
            logits, labels, confidence=self.confidence
        )

    def loss_terms(self, crafted: Tensors, labels: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        terms, logits = super().loss_terms(crafted, labels)
        return terms | {"hinge": margin_hinge(logits, labels, confidence=self.confidence)}, logits
