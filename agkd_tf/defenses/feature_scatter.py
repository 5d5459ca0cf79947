"""Feature scattering (FS)."""

from typing import Annotated, Any

import keras
import tensorflow as tf

from agkd_tf.defenses.adversarial_defense import AdversarialDefense
from agkd_tf.defenses.defense import LabelSmoothing, Tensors
from agkd_tf.losses import check_label_smoothing, optimal_transport, smoothed_cross_entropy
from agkd_tf.settings import Count, Range


@keras.saving.register_keras_serializable(package="agkd_tf")
class FeatureScatter(AdversarialDefense):
    """Trains on adversarial images made without labels, by scattering the batch: L = CE_s(f(x'), y).

    The attack ascends the optimal transport distance between the logits of the clean batch and of the
    adversarial one (see `agkd_tf.losses.optimal_transport`), so an adversarial image depends on its whole batch or,
    with several replicas, on its replica's part of it. The paper uses one step of eps. The training pass comes after
    the last step; the released code, if run with several steps, makes one in each of them. The other defaults are the
    released code's; for those of the transport plan, see `agkd_tf.losses.transport_plan`.

    Args:
        student: as `Defense`.
        **kwargs: as `AdversarialDefense`.

    Source: Zhang and Wang, Defense Against Adversarial Attacks Using Feature Scattering-based Adversarial
    Training, NeurIPS 2019, and its released code.
    """

    def __init__(
        self,
        student: keras.Model,
        *,
        attack_steps: int = 1,
        label_smoothing: LabelSmoothing = 0.5,
        transport_regularization: Annotated[float, Range(1e-6), "Weight of the entropy in the Sinkhorn plan."] = 0.01,
        transport_iterations: Annotated[Count, "Largest number of Sinkhorn iterations."] = 100,
        transport_threshold: Annotated[float, Range(0.0), "Change at which Sinkhorn iterations stop."] = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(student, attack_steps=attack_steps, **kwargs)
        check_label_smoothing(label_smoothing, self.classifier.num_classes)

    def craft(self, clean: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> Tensors:
        clean_logits = self.classifier.logits(clean)
        settings = {
            "regularization": self.transport_regularization,
            "iterations": self.transport_iterations,
            "threshold": self.transport_threshold,
        }
        return {"adv": self.perturb(clean, lambda logits: optimal_transport(clean_logits, logits, **settings), seed)}

    def loss_terms(self, crafted: Tensors, labels: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        logits = self.classifier(crafted["adv"], training=True).logits
        return {"cross_entropy": smoothed_cross_entropy(logits, labels, self.label_smoothing)}, logits
