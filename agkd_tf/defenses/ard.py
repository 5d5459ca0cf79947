"""Adversarially robust distillation (ARD)."""

from typing import Any

import keras

from agkd_tf.defenses.distillation import Distillation, Way


@keras.saving.register_keras_serializable(package="agkd_tf")
class ARD(Distillation):
    """Teaches the student to predict at an adversarial image x' what the robust teacher predicts at the image x.

        L = w T^2 KL_T(t(x) || s(x')) + (1 - w) CE(s(x), y)

    with the notation of `Distillation`. The attack ascends CE(s(x'), y) from a uniform start. w (alpha in the paper) is
    1 and T is 30 in the released code, which passes x through the student even at w = 1, only for BN's statistics, and
    takes the mean of KL over the classes, too: a tenth of this one with ten classes. Its attack sees training-mode BN.

    Args:
        student: as `Defense`.
        teacher: as `Distillation`.
        **kwargs: as `Distillation` and `AdversarialDefense`.

    Source: Goldblum et al., Adversarially Robust Distillation, AAAI 2020, and its released code.
    """

    way = Way(by_labels=True)

    def __init__(self, student: keras.Model, teacher: keras.Model, *, temperature: float = 30.0, **kwargs: Any) -> None:
        super().__init__(student, teacher, temperature=temperature, **kwargs)
