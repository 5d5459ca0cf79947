"""Feature scattering (FS)."""

import keras

from agkd_tf.defenses.adversarial_defense import AdversarialDefense
from agkd_tf.errors import check_range
from agkd_tf.losses import check_label_smoothing, optimal_transport, smoothed_cross_entropy


@keras.saving.register_keras_serializable(package="agkd_tf")
class FeatureScatter(AdversarialDefense):
    """Trains on adversaries made without labels, by scattering the batch: L = CE_s(f(x'), y).

    The attack ascends the optimal transport distance between the logits of the clean batch and of the
    adversarial one (see `agkd_tf.losses.optimal_transport`), so an adversary depends on its whole batch;
    under several replicas, on its replica's part of it.

    Args:
        student: as `Defense`.
        attack_steps: 1 in the paper, with a step of eps. The training pass comes after the last step;
            the released code, run with more, makes one within each.
        label_smoothing: s, 0.5 in the released code.
        transport_regularization, transport_iterations, transport_threshold: of the plan, see
            `agkd_tf.losses.transport_plan`; 0.01, 100 and 0.1 in the released code.
        **kwargs: as `AdversarialDefense`.

    Source: Zhang and Wang, Defense Against Adversarial Attacks Using Feature Scattering-based Adversarial
    Training, NeurIPS 2019, and its released code.
    """

    def __init__(
        self,
        student,
        *,
        attack_steps=1,
        label_smoothing=0.5,
        transport_regularization=0.01,
        transport_iterations=100,
        transport_threshold=0.1,
        **kwargs,
    ):
        super().__init__(student, attack_steps=attack_steps, **kwargs)
        self.label_smoothing = check_label_smoothing(label_smoothing, self.classifier.num_classes)
        self.transport_regularization = check_range("transport_regularization", transport_regularization, 1e-6)
        self.transport_iterations = check_range("transport_iterations", transport_iterations, 1)
        self.transport_threshold = check_range("transport_threshold", transport_threshold, 0.0)

    def craft(self, clean, labels, seed):
        clean_logits = self.classifier.logits(clean)
        settings = {
            "regularization": self.transport_regularization,
            "iterations": self.transport_iterations,
            "threshold": self.transport_threshold,
        }
        return {"adv": self.perturb(clean, lambda logits: optimal_transport(clean_logits, logits, **settings), seed)}

    def loss_terms(self, crafted, labels):
        logits = self.classifier(crafted["adv"], training=True).logits
        return {"cross_entropy": smoothed_cross_entropy(logits, labels, self.label_smoothing)}, logits

    def get_config(self):
        return {
            **super().get_config(),
            "label_smoothing": self.label_smoothing,
            "transport_regularization": self.transport_regularization,
            "transport_iterations": self.transport_iterations,
            "transport_threshold": self.transport_threshold,
        }
