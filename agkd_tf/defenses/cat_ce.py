"""Customized adversarial training (CAT) with cross-entropy: each image has its own eps."""

from typing import Annotated, Any

import keras
import tensorflow as tf

from agkd_tf.defenses.adversarial_defense import AdversarialDefense
from agkd_tf.defenses.defense import Tensors
from agkd_tf.errors import InputError, check_range
from agkd_tf.losses import soft_cross_entropy
from agkd_tf.randomness import named_seed, uniform_simplex
from agkd_tf.settings import Range


@keras.saving.register_keras_serializable(package="agkd_tf")
class CATCE(AdversarialDefense):
    """Increases each training image's eps as long as the student still classifies the adversarial image correctly.

    eps_i of training image i starts at 0 and is kept from epoch to epoch. Each time the image is seen,

        e = min(eps_i + eps_increment, eps);  x' = PGD of x in the ball of radius e, ascending the loss;
        eps_i <- e if x' is classified correctly; otherwise eps_i stays as it is;
        L = CE(f(x'), q_i),  q_i = (1 - c eps_i) onehot(y) + c eps_i Dirichlet(1, ..., 1)

    with q_i float32 [B, n], c = `smoothing_scale`, and a fresh Dirichlet draw for the attack and for the loss. (The
    released code, in its published version, undoes the increase for images that stay correct; the rule here is the
    paper's.) The eps_i, float32 [N], are global: each of several replicas increases those of its own part of the batch,
    and all replicas see them in the next step. c * eps must be below 1, so that the true class keeps some mass. The
    increment, c and the 10 steps from the image itself are the released code's.

    Args:
        student: as `Defense`.
        num_examples: number of training images; required for training, on batches that are dicts with `index`.
        **kwargs: as `AdversarialDefense`.

    Source: Cheng et al., CAT: Customized Adversarial Training for Improved Robustness, IJCAI 2022.
    """

    def __init__(
        self,
        student: keras.Model,
        *,
        num_examples: int | None = None,
        eps_increment: Annotated[float, Range(0.0, 1.0), "How much an image's eps grows at a time."] = 0.005,
        smoothing_scale: Annotated[float, Range(0.0), "c: label smoothing per unit of an image's eps."] = 10.0,
        attack_steps: int = 10,
        random_start: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(student, attack_steps=attack_steps, random_start=random_start, **kwargs)
        if smoothing_scale * self.eps >= 1:
            raise InputError(
                f"`smoothing_scale` times `eps` must be below 1, or the true class gets no mass. "
                f"Received: {smoothing_scale} * {self.eps:g}"
            )
        self.num_examples, self.example_eps = num_examples, None
        if num_examples is not None:
            check_range("num_examples", num_examples, 1)
            self.example_eps = self.add_weight(
                shape=(num_examples,),
                initializer="zeros",
                trainable=False,
                aggregation="only_first_replica",
                name="example_eps",
            )

    needs = frozenset({"num_examples"})

    @property
    def memory(self) -> dict[str, keras.Variable]:
        if self.example_eps is None:
            raise InputError(f"{type(self).__name__} needs `num_examples`, the number of training images, to train")
        return {"example_eps": self.example_eps}

    def attack_objective(self, logits: tf.Tensor, labels: tf.Tensor, soft_labels: tf.Tensor) -> tf.Tensor:
        """Returns what the attack ascends, float32 [B], from logits [B, n] and soft labels [B, n]."""
        return tf.nn.softmax_cross_entropy_with_logits(labels=soft_labels, logits=logits)

    def soft_labels(self, labels: tf.Tensor, eps: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Returns float32 [B, n], the smoothed labels of images with perturbations of size `eps` [B]."""
        classes = self.classifier.num_classes
        smoothing = (self.smoothing_scale * eps)[:, None]
        noise = uniform_simplex(tf.shape(labels)[0], classes, seed)
        return (1.0 - smoothing) * tf.one_hot(labels, classes) + smoothing * noise

    def craft(  # type: ignore[override]  # it also takes what `memory` names
        self, clean: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, example_eps: tf.Tensor
    ) -> Tensors:
        grown = tf.minimum(example_eps + self.eps_increment, self.eps)
        attacked = self.soft_labels(labels, grown, named_seed(seed, "attack_label"))
        adv = self.perturb(
            clean,
            lambda logits: self.attack_objective(logits, labels, attacked),
            seed,
            eps=grown[:, None, None, None],
        )
        correct = tf.equal(tf.argmax(self.classifier.logits(adv), axis=1, output_type=tf.int32), labels)
        kept = tf.where(correct, grown, example_eps)
        soft = self.soft_labels(labels, kept, named_seed(seed, "label"))
        return {"adv": adv, "soft_labels": soft, "example_eps": kept}

    def loss_terms(self, crafted: Tensors, labels: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        logits = self.classifier(crafted["adv"], training=True).logits
        return {"cross_entropy": soft_cross_entropy(logits, crafted["soft_labels"])}, logits

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_examples": self.num_examples}
