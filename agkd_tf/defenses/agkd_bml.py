"""Attention-guided knowledge distillation and bi-directional metric learning (AGKD-BML)."""

from typing import Any

import keras

from agkd_tf.defenses.agkd import AGKD
from agkd_tf.defenses.bml import BML


@keras.saving.register_keras_serializable(package="agkd_tf")
class AGKDBML(BML, AGKD):
    """Trains a student on bi-directional adversarial images with the guidance of a frozen clean teacher.

    This is one step on a batch, with the method that does each line. f is the student, t the teacher, A a normalised
    attention map, h the embedding, d the angular distance 1 - |cos|, CE_s the label-smoothed cross-entropy:

        clean     = augment(images)                                                # TrainingStep.craft
        confusing = argmax over k != labels of f(clean)_k                          # Bidirectional.craft
        other     = augment(pool.sample(confusing))
        forward   = PGD from clean, ascending log p(confusing)                     # both run as one batch
        backward  = PGD from other, ascending log p(labels)
        A_t       = maps of t(clean), t(other)                                     # AGKD.craft

        f in training mode, once, on [forward, clean, backward]                    # Bidirectional.loss_terms
        loss = CE_s(f(forward), labels)
             + attention_weight * (mean |A_f(forward) - A_t(clean)|                # AGKD.joint_terms
                                   + mean |A_f(backward) - A_t(other)|)
             + triplet_weight * (mean max(0, margin + d(h_forward, h_clean)        # BML.joint_terms
                                                    - d(h_forward, h_backward))
                                 + norm_weight * sum over the three of mean h^2)
        f   <- optimizer(d loss / d f)                                             # TrainingStep.apply

    `mart` adds two terms (see `Bidirectional`). The clean image and the backward adversary have no cross-entropy.

        pool = agkd_tf.ClassPool(x_train, y_train, num_classes=10)
        defense = agkd_tf.AGKDBML(model, pool=pool, eps=8 / 255)
        defense.compile(keras.optimizers.SGD(0.01, momentum=0.9))
        defense.fit(x_train, y_train, batch_size=128, epochs=20)

    Args:
        student: as `Defense`.
        teacher: as `AGKD`.
        pool: as `Bidirectional`.
        **kwargs: as `AGKD`, `BML` and `Bidirectional`.

    Source: Wang et al., AGKD-BML: Defense Against Adversarial Attack by Attention Guided Knowledge
    Distillation and Bi-directional Metric Learning, ICCV 2021, its supplement, and the constants of its
    released code. docs/defenses.md lists what they leave open.
    """

    def __init__(self, student: keras.Model, teacher: keras.Model | None = None, **kwargs: Any) -> None:
        super().__init__(student, teacher=teacher, **kwargs)
