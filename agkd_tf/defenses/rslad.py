"""Robust soft label adversarial distillation (RSLAD)."""

from typing import Any

import keras

from agkd_tf.defenses.distillation import Distillation, Way


@keras.saving.register_keras_serializable(package="agkd_tf")
class RSLAD(Distillation):
    """Replaces each label, in the attack, too, by what the robust teacher predicts at the clean image x.

        L = w KL(t(x) || s(x')) + (1 - w) KL(t(x) || s(x))

    with the notation of `Distillation`, and T = 1. The attack ascends KL(t(x) || s(x')) from a Gaussian start of
    standard deviation 0.001. w is 5/6 in the released code, which takes the mean of KL over the classes, too, and for
    CIFAR-100 multiplies it by 10.

    Args:
        student: as `Defense`.
        teacher: as `Distillation`.
        **kwargs: as `Distillation` and `AdversarialDefense`.

    Source: Zi et al., Revisiting Adversarial Robustness Distillation: Robust Soft Labels Make Student Better, ICCV
    2021, and its released code.
    """

    way = Way()

    def __init__(
        self,
        student: keras.Model,
        teacher: keras.Model,
        *,
        adversarial_weight: float = 5 / 6,
        start_stddev: float | None = 0.001,
        **kwargs: Any,
    ) -> None:
        super().__init__(student, teacher, adversarial_weight=adversarial_weight, start_stddev=start_stddev, **kwargs)
