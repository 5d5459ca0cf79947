"""TRADES: a trade-off between accuracy and robustness."""

from typing import Annotated, Any

import keras
import tensorflow as tf

from agkd_tf.defenses.defense import LabelSmoothing, Tensors
from agkd_tf.defenses.mixing import MixingDefense
from agkd_tf.errors import InputError
from agkd_tf.losses import check_label_smoothing, kl_divergence, smoothed_cross_entropy, soft_objective
from agkd_tf.settings import Weight


@keras.saving.register_keras_serializable(package="agkd_tf")
class TRADES(MixingDefense):
    """Keeps the predictions for an image x and its adversarial image x' close to each other.

        L = CE_s(f(x), y) + trades_beta * mean KL(p(x) || p(x'))

    The attack ascends the same divergence, from a Gaussian start (at x itself its gradient is zero). x
    and x' take separate training-mode passes; the gradient flows through both. beta is 1 / lambda of the paper, 6 in
    its main result. The 10 steps and the standard deviation of the Gaussian start, 0.001, are the released code's; s is
    0. With CutMix, the attack ascends KL(y_mix || p(x')) instead, as Rebuffi et al. do.

    Args:
        student: as `Defense`.
        **kwargs: as `MixingDefense`.

    Source: Zhang et al., Theoretically Principled Trade-off between Robustness and Accuracy, ICML 2019,
    eq. 5, and its released code, which runs the clean pass twice.
    """

    training_images = 2

    def __init__(
        self,
        student: keras.Model,
        *,
        trades_beta: Annotated[Weight, "Weight of the divergence between clean and adversarial predictions."] = 6.0,
        attack_steps: int = 10,
        start_stddev: float | None = 0.001,
        label_smoothing: LabelSmoothing = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(student, attack_steps=attack_steps, start_stddev=start_stddev, **kwargs)
        if not self.random_start or 0.0 in (self.start_stddev, self.start_radius):
            raise InputError(
                "TRADES needs `random_start`, with a size above 0: its attack has no gradient at the image itself"
            )
        check_label_smoothing(label_smoothing, self.classifier.num_classes)

    @property
    def term_weights(self) -> dict[str, float]:
        return super().term_weights | {"divergence": self.trades_beta}

    def craft(self, clean: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> Tensors:
        if self.cutmix:
            mixed, soft_labels = self.mixed(clean, labels, seed)
            adv = self.perturb(mixed, soft_objective(soft_labels), seed, batches=self.cutmix_copies)
            return {"clean": mixed, "adv": adv, "labels": soft_labels}
        clean_logits = self.classifier.logits(clean)
        return {"clean": clean, "adv": self.perturb(clean, lambda logits: kl_divergence(clean_logits, logits), seed)}

    def loss_terms(self, crafted: Tensors, labels: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        clean_logits = self.classifier(crafted["clean"], training=True).logits
        adv_logits = self.classifier(crafted["adv"], training=True).logits
        return {
            "cross_entropy": smoothed_cross_entropy(clean_logits, crafted.get("labels", labels), self.label_smoothing),
            "divergence": tf.reduce_mean(kl_divergence(clean_logits, adv_logits)),
        }, self.own(adv_logits)
