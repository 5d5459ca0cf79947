"""What ARD, RSLAD, AdaAD and IGDM share: the predictions of a robust teacher are what the student learns."""

import dataclasses
from typing import Annotated, Any

import keras
import tensorflow as tf

from agkd_tf.attacks.objectives import cross_entropy
from agkd_tf.defenses.defense import Tensors
from agkd_tf.defenses.guided import Guided
from agkd_tf.losses import kl_divergence, smoothed_cross_entropy, softened_divergence
from agkd_tf.settings import Range, Share

Temperature = Annotated[
    float, Range(0.0, low_open=True), "T: what logits are divided by before teacher and student are compared."
]
AdversarialWeight = Annotated[
    Share, "Weight of the adversarial image's term; that of the clean image's has the rest, and is left out at 1."
]


@dataclasses.dataclass(frozen=True)
class Way:
    """In what the ways of robust distillation differ.

    Attributes:
        by_labels: whether the attack, and the clean image's term, go by the labels instead of by the teacher.
        follows: whether the teacher is asked about the adversarial image, which the attack then moves away from it and
            the loss back; otherwise it is asked about the clean image alone.
    """

    by_labels: bool = False
    follows: bool = False


class Distillation(Guided):
    """Base class of the defenses that distill a robust teacher.

    With x the clean image, x' its adversarial image, t the frozen teacher, s the student, w = `adversarial_weight` and
    T = `temperature`,

        L = w T^2 KL_T(target || s(x')) + (1 - w) clean term
        target = t(x), or t(x') where the teacher follows
        clean term = T^2 KL_T(t(x) || s(x)), or CE(s(x), y) where labels are gone by

    KL_T(a || b) is the batch mean of KL(softmax(a / T) || softmax(b / T)), summed over the classes. The attack ascends
    KL(target || s(x')) without temperature, through both networks if the target depends on x', or CE(s(x'), y). x' and
    x take separate training-mode passes; at w = 1 there is none of x.

    The teacher has to be robust: its robustness is what is passed on. It may be another network than the student.
    `eps` is the radius of the ball and `attack_step_size` the length of a step, by default a quarter of it; public
    files for RSLAD, AdaAD and IGDM pass the one in the place of the other.

    Args:
        student: as `Defense`.
        teacher: robust classifier with the student's classes and images; it is frozen.
        **kwargs: as `AdversarialDefense`.

    Raises:
        InputError: for values out of range, or a teacher that does not fit or is the student itself.
    """

    way: Way
    teacher_is_robust = True

    def __init__(
        self,
        student: keras.Model,
        teacher: keras.Model,
        *,
        adversarial_weight: AdversarialWeight = 1.0,
        temperature: Temperature = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(student, **kwargs)
        self.take_teacher(teacher)

    @property
    def training_images(self) -> int:  # type: ignore[override]  # here it depends on the instance
        return 2 if self._has_clean_term else 1

    @property
    def _has_clean_term(self) -> bool:
        return self.adversarial_weight < 1

    @property
    def term_weights(self) -> dict[str, float]:
        clean = {self._clean_term: 1.0 - self.adversarial_weight} if self._has_clean_term else {}
        return {"distillation": self.adversarial_weight} | clean

    @property
    def _clean_term(self) -> str:
        return "cross_entropy" if self.way.by_labels else "clean_distillation"

    @property
    def shown(self) -> tuple[str, ...]:
        """Names of the images that the loss needs the teacher's logits of."""
        asked_about_clean = not self.way.follows or (self._has_clean_term and not self.way.by_labels)
        return ("clean",) * asked_about_clean + ("adv",) * self.way.follows

    def teach(self, crafted: Tensors) -> Tensors:
        """Returns the teacher's logits, float32 [B, n], of those of the crafted images that are `shown`, by name."""
        names = [name for name in self.shown if name in crafted]
        return {f"taught_{name}": tf.stop_gradient(self.guide.logits(crafted[name])) for name in names}

    def craft(self, clean: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> Tensors:
        taught = self.teach({"clean": clean})
        adv = self._attack(clean, labels, taught, seed)
        return {"clean": clean, "adv": adv} | taught | self.teach({"adv": adv})

    def _attack(self, clean: tf.Tensor, labels: tf.Tensor, taught: Tensors, seed: tf.Tensor) -> tf.Tensor:
        if self.way.by_labels:
            return self.perturb(clean, lambda logits: cross_entropy(logits, labels), seed)
        if not self.way.follows:
            return self.perturb(clean, lambda logits: kl_divergence(taught["taught_clean"], logits), seed)
        return self.ascend(clean, lambda adv: kl_divergence(self.guide.logits(adv), self.classifier.logits(adv)), seed)

    def loss_terms(self, crafted: Tensors, labels: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        adv_logits = self.classifier(crafted["adv"], training=True).logits
        target = crafted["taught_adv" if self.way.follows else "taught_clean"]
        terms = {"distillation": softened_divergence(target, adv_logits, self.temperature)}
        if self._has_clean_term:
            logits = self.classifier(crafted["clean"], training=True).logits
            terms[self._clean_term] = (
                smoothed_cross_entropy(logits, labels, 0.0)
                if self.way.by_labels
                else softened_divergence(crafted["taught_clean"], logits, self.temperature)
            )
        return terms, adv_logits
