"""Indirect gradient distillation (IGDM), on top of another distillation."""

from typing import Annotated, Any

import keras
import tensorflow as tf

from agkd_tf.defenses.adaad import AdaAD
from agkd_tf.defenses.ard import ARD
from agkd_tf.defenses.defense import Tensors
from agkd_tf.defenses.distillation import Distillation, Temperature
from agkd_tf.defenses.rslad import RSLAD
from agkd_tf.errors import InputError, check_range
from agkd_tf.losses import gradient_matching
from agkd_tf.settings import Choice, Share, Weight, settings_of

BASES: dict[str, type[Distillation]] = {"ard": ARD, "rslad": RSLAD, "adaad": AdaAD}


@keras.saving.register_keras_serializable(package="agkd_tf")
class IGDM(Distillation):
    """Adds to a distillation that the student changes with its input as the robust teacher does.

        L = the base's + igdm_weight * r * mean KL(softmax(t(x') - t(x-)) || softmax(s(x') - s(x-)))
        x- = x - (x' - x),  r = min(1, (step + 1) / num_steps)

    with the notation of `Distillation`; KL is summed over the classes. x- is the adversarial image mirrored at x. It is
    not clipped, so that it may lie outside [0, 1], and takes a training-mode pass of its own. r, which is part of the
    reported term, rises from step to step as e / E does in the released code from epoch to epoch.

    The attack is the base's, from a Gaussian start of standard deviation 0.001; with `igdm_base="ard"` give
    `start_radius`, the ball's eps, for ARD's own uniform start. On AdaAD and CIFAR-10 the weight is 5 or 10 in the
    paper, depending on the teacher, and 1 by default in the released code.

    Args:
        student: as `Defense`.
        teacher: as `Distillation`.
        num_steps: number of steps of the whole training; required for training.
        **kwargs: as `Distillation` and `AdversarialDefense`.

    Source: Lee et al., Indirect Gradient Matching for Adversarial Robust Distillation, ICLR 2025, and the authors'
    released code.
    """

    needs = Distillation.needs | {"num_steps"}

    def __init__(
        self,
        student: keras.Model,
        teacher: keras.Model,
        *,
        num_steps: int | None = None,
        igdm_base: Annotated[str, Choice(BASES), "Distillation that IGDM's term is added to."] = "adaad",
        igdm_weight: Annotated[Weight, "Weight that IGDM's term has at the end of the training."] = 5.0,
        adversarial_weight: Annotated[
            Share | None, "Weight of the adversarial image's term, as the base has it; the base's own if not given."
        ] = None,
        temperature: Annotated[Temperature | None, "T, as the base has it; the base's own if not given."] = None,
        start_stddev: float | None = 0.001,
        **kwargs: Any,
    ) -> None:
        base = BASES[igdm_base]
        own = {"adversarial_weight": adversarial_weight, "temperature": temperature}
        settings = {name: settings_of(base)[name].default if value is None else value for name, value in own.items()}
        super().__init__(student, teacher, start_stddev=start_stddev, **settings, **kwargs)
        self.way = base.way
        self.num_steps = num_steps if num_steps is None else check_range("num_steps", num_steps, 1)

    @property
    def training_images(self) -> int:  # type: ignore[override]  # here it depends on the instance
        return super().training_images + 1

    @property
    def term_weights(self) -> dict[str, float]:
        return super().term_weights | {"gradient_matching": self.igdm_weight}

    @property
    def shown(self) -> tuple[str, ...]:
        return (*dict.fromkeys((*super().shown, "adv")), "mirrored")

    def check_needs(self) -> None:
        super().check_needs()
        if self.num_steps is None:
            raise InputError(f"{type(self).__name__} needs `num_steps`, the number of steps of its training, to train")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_steps": self.num_steps}

    def craft(self, clean: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> Tensors:
        crafted = super().craft(clean, labels, seed)
        mirrored = {"mirrored": 2.0 * clean - crafted["adv"]}
        return crafted | mirrored | self.teach(mirrored)

    def loss_terms(self, crafted: Tensors, labels: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        terms, adv_logits = super().loss_terms(crafted, labels)
        behind = self.classifier(crafted["mirrored"], training=True).logits
        matching = gradient_matching(crafted["taught_adv"], crafted["taught_mirrored"], adv_logits, behind)
        done = tf.cast(self.step + 1, tf.float32)
        return terms | {"gradient_matching": tf.minimum(done / self.num_steps, 1.0) * matching}, adv_logits
