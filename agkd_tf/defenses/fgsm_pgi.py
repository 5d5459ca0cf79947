"""FGSM-PGI: single-step adversarial training that starts each image's attack where its last one ended."""

from typing import Annotated, Any

import keras
import tensorflow as tf

from agkd_tf.attacks import input_gradient
from agkd_tf.attacks.objectives import cross_entropy
from agkd_tf.defenses.defense import Defense, LabelSmoothing, Tensors
from agkd_tf.errors import InputError, check_range
from agkd_tf.losses import check_label_smoothing, smoothed_cross_entropy
from agkd_tf.randomness import named_seed
from agkd_tf.settings import Count, Share, Weight


@keras.saving.register_keras_serializable(package="agkd_tf")
class FGSMPGI(Defense):
    """Trains on FGSM adversarial images that start from a perturbation kept for each training image.

    Each training image i has a perturbation d_i and a momentum m_i, both float32 [H, W, C]. Each time it is seen,

        x~ = box(x + d_i);  g = grad_x~ CE(f(x~), y);  m_i <- g / ||g||_1 + prior_decay * m_i;
        x' = box(x + clip(d_i + eps sign g));  d_i <- clip(d_i + eps sign m_i);
        L = CE_s(f(x'), y) + prior_weight * mean over images and classes of (f(x') - f(x~))^2

    where clip is to [-eps, eps] and box to [0, 1]. x' is made of the old d_i. The gradient of g is taken of the student
    in inference mode; x~ and x' take separate training-mode passes, and the gradient of L flows through both. The L1
    norm is that of one image; the released code's is over the batch, so that m_i would depend on the other images. The
    settings are the released code's; s = 0.4 here is 0.4 of the mass off the true class.

    The first time that an image is seen, and again each `prior_epochs` times, its attack starts anew: d_i = eps sign(u)
    with u uniform in [-1, 1], m_i = 0. Since an epoch shows each image once, this is each `prior_epochs` epochs (an
    image in an epoch's last, incomplete batch, which a run leaves out, starts anew an epoch later).

    d_i belongs to the positions of the image that the network sees: augmentation crops and flips the image anew each
    time, but d_i is not warped along with it, as in the released code. So d_i is a start that has adapted to its
    image only as far as the augmentation leaves it in place.

    The d_i and m_i, float32 [N, H, W, C], stay on the device and are in each checkpoint: for CIFAR-10, 2 * 614 MB. They
    are global, as CAT's eps_i are.

    Args:
        student: as `Defense`; the size of its images must be fixed.
        num_examples: number of training images; required for training, on batches that are dicts with `index`.
        **kwargs: as `Defense`.

    Source: Jia et al., Prior-Guided Adversarial Initialization for Fast Adversarial Training, ECCV 2022, in the form
    with momentum over all epochs (FGSM-MEP), and its released code.
    """

    training_images = 2
    needs = frozenset({"num_examples"})

    def __init__(
        self,
        student: keras.Model,
        *,
        num_examples: int | None = None,
        label_smoothing: LabelSmoothing = 0.4,
        prior_weight: Annotated[Weight, "Weight of the difference to the logits at the attack's start."] = 10.0,
        prior_decay: Annotated[Share, "Decay of the gradients accumulated for each image's next start."] = 0.3,
        prior_epochs: Annotated[Count, "Number of epochs after which an image's attack starts at random again."] = 40,
        **kwargs: Any,
    ) -> None:
        super().__init__(student, **kwargs)
        check_label_smoothing(label_smoothing, self.classifier.num_classes)
        if self.norm != "linf":
            raise InputError(
                f"FGSM-PGI steps along signs of gradients: it needs `norm='linf'`. Received: {self.norm!r}"
            )
        self.num_examples = num_examples
        self._memory: dict[str, keras.Variable] | None = None
        if num_examples is not None:
            check_range("num_examples", num_examples, 1)
            shape = self.classifier.image_shape
            if None in shape:
                raise InputError(f"FGSM-PGI needs a network for images of one size. Received one for: {shape}")
            self._memory = {
                "perturbation": self._remember("perturbation", (num_examples, *shape)),
                "accumulated": self._remember("accumulated", (num_examples, *shape)),
                "times_seen": self._remember("times_seen", (num_examples,)),
            }

    def _remember(self, name: str, shape: tuple[int | None, ...]) -> keras.Variable:
        return self.add_weight(
            shape=shape,
            initializer="zeros",
            dtype="float32",
            trainable=False,
            aggregation="only_first_replica",
            name=name,
        )

    @property
    def memory(self) -> dict[str, keras.Variable]:
        if self._memory is None:
            raise InputError(f"{type(self).__name__} needs `num_examples`, the number of training images, to train")
        return self._memory

    @property
    def term_weights(self) -> dict[str, float]:
        return super().term_weights | {"prior": self.prior_weight}

    def craft(  # type: ignore[override]  # it also takes what `memory` names
        self,
        clean: tf.Tensor,
        labels: tf.Tensor,
        seed: tf.Tensor,
        perturbation: tf.Tensor,
        accumulated: tf.Tensor,
        times_seen: tf.Tensor,
    ) -> Tensors:
        starts_anew = tf.equal(tf.math.floormod(times_seen, float(self.prior_epochs)), 0.0)[:, None, None, None]
        corner = self.eps * tf.sign(self.ball.sample(tf.shape(clean), named_seed(seed, "start")))
        perturbation = tf.where(starts_anew, corner, perturbation)
        accumulated = tf.where(starts_anew, 0.0, accumulated)
        start = tf.clip_by_value(clean + perturbation, 0.0, 1.0)
        gradient = input_gradient(lambda images: cross_entropy(self.classifier.logits(images), labels), start)
        length = tf.reduce_sum(tf.abs(gradient), axis=[1, 2, 3], keepdims=True)
        accumulated = tf.math.divide_no_nan(gradient, length) + self.prior_decay * accumulated
        return {
            "start": start,
            "adv": tf.clip_by_value(clean + self._stepped(perturbation, gradient), 0.0, 1.0),
            "perturbation": self._stepped(perturbation, accumulated),
            "accumulated": accumulated,
            "times_seen": times_seen + 1.0,
        }

    def _stepped(self, perturbation: tf.Tensor, direction: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value(perturbation + self.eps * tf.sign(direction), -self.eps, self.eps)

    def loss_terms(self, crafted: Tensors, labels: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        start_logits = self.classifier(crafted["start"], training=True).logits
        logits = self.classifier(crafted["adv"], training=True).logits
        return {
            "cross_entropy": smoothed_cross_entropy(logits, labels, self.label_smoothing),
            "prior": tf.reduce_mean(tf.math.squared_difference(logits, start_logits)),
        }, logits

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_examples": self.num_examples}
