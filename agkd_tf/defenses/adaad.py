"""Adaptive adversarial distillation (AdaAD)."""

from typing import Any

import keras

from agkd_tf.defenses.distillation import Distillation, Way


@keras.saving.register_keras_serializable(package="agkd_tf")
class AdaAD(Distillation):
    """Looks for the points where student and robust teacher differ most, and teaches the student what is right there.

        L = w KL(t(x') || s(x')) + (1 - w) KL(t(x) || s(x))

    with the notation of `Distillation`, and T = 1. The attack ascends KL(t(x') || s(x')), with the gradient through
    both networks, from a Gaussian start of standard deviation 0.001: a step costs a pass of the teacher and back, too.
    w (lambda in the paper) is 1.

    Args:
        student: as `Defense`.
        teacher: as `Distillation`.
        **kwargs: as `Distillation` and `AdversarialDefense`.

    Source: Huang et al., Boosting Accuracy and Robustness of Student Models via Adaptive Adversarial Distillation, CVPR
    2023. The start and the 10 steps are those of others' code for it.
    """

    way = Way(follows=True)

    def __init__(
        self, student: keras.Model, teacher: keras.Model, *, start_stddev: float | None = 0.001, **kwargs: Any
    ) -> None:
        super().__init__(student, teacher, start_stddev=start_stddev, **kwargs)
