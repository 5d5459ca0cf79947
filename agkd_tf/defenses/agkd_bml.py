"""Attention-guided knowledge distillation and bi-directional metric learning (AGKD-BML)."""

import keras

from agkd_tf.defenses.agkd import AGKD
from agkd_tf.defenses.bml import BML


@keras.saving.register_keras_serializable(package="agkd_tf")
class AGKDBML(BML, AGKD):
    """Trains a student on bi-directional adversaries under the guidance of a frozen clean teacher.

    The sum of its parts: with x' the forward adversary of a clean image x of class y, x2' the backward
    adversary of an image x2 of x's most confusing class (see `Bidirectional`), h the embedding, A the
    normalised attention map of the student f or the teacher t,

        L = CE_s(f(x'), y)
          + attention_weight * (mean |A_f(x') - A_t(x)| + mean |A_f(x2') - A_t(x2)|)                `AGKD`
          + triplet_weight * (mean max(0, margin + d(h', h) - d(h', h2')) + norm_weight * sum mean h^2)  `BML`

    and two terms more with `mart`. The clean image and the backward adversary get no cross-entropy.

    Args:
        student: as `Defense`.
        teacher, attention_weight, attention: as `AGKD`.
        triplet_weight, margin, norm_weight: as `BML`.
        pool, attack_steps, label_smoothing, mart, mart_beta: as `Bidirectional`.
        **kwargs: as `AdversarialDefense`.

    Source: Wang et al., AGKD-BML: Defense Against Adversarial Attack by Attention Guided Knowledge
    Distillation and Bi-directional Metric Learning, ICCV 2021, its supplement, and the constants of its
    released code. Differences: see the project's README.
    """

    def __init__(self, student, teacher=None, **kwargs):
        super().__init__(student, teacher=teacher, **kwargs)
