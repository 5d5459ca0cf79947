"""Single-direction metric learning with mined negatives (SML, also called TLA)."""

from typing import Annotated, Any

import keras
import tensorflow as tf

from agkd_tf.attacks import random_other_class
from agkd_tf.data.augmentation import augment
from agkd_tf.data.class_pool import ClassPool
from agkd_tf.defenses.adversarial_training import AdversarialTraining
from agkd_tf.defenses.alp import PairingWeight
from agkd_tf.defenses.bml import Margin, NormWeight, TripletWeight
from agkd_tf.defenses.defense import Tensors
from agkd_tf.losses import angular_triplet, embedding_norm, embedding_pairing, smoothed_cross_entropy
from agkd_tf.randomness import named_seed, uniform
from agkd_tf.settings import Count, Pixels, Range


@keras.saving.register_keras_serializable(package="agkd_tf")
class SML(AdversarialTraining):
    """Pulls an adversarial image x' towards its clean image x and another one of its class, x1, away from a mined x2.

        L = CE_s(f(x'), y) + triplet_weight * (T(x', x, x2; same_image_margin) + T(x', x1, x2; margin))
          + pairing_weight * mean ||h - h'||^2
        T(a, p, n; m) = mean max(0, m + d(a, p) - d(a, n)) + norm_weight * mean (a^2 + p^2 + n^2)

    with h the embedding and d the angular distance. x2 is chosen from `candidates_per_image` fresh clean
    images per image of the batch: the one of another class whose embedding has the largest cosine with that of x'.
    x', x, x1 and x2 take four separate training-mode passes; noise U(-clean_noise, clean_noise) is added to x, which is
    then rounded to whole pixel values. Triplet weight, margin, norm weight and pairing weight are 2, 0.03, 0.001 and 0
    for CIFAR-10; for Tiny ImageNet they are 0.5, 0.02, 0.001 and 0.5, with a `same_image_margin` of 0.6. x1 is
    drawn with replacement, so that it is x itself with a probability of one over the class's size. Each of several
    replicas draws its own candidates, and therefore has its own negatives.

    Args:
        student: as `Defense`.
        pool: `agkd_tf.data.ClassPool` of the training images; required for training.
        **kwargs: as `AdversarialTraining`, whose attack it shares.

    Source: Mao et al., Metric Learning for Adversarial Robustness, NeurIPS 2019, and its released code.
    Difference: a candidate of the adversarial image's own class is never chosen (there, only while cosines are
    positive). To ensure this, one candidate per image is drawn from another class.
    """

    training_images = 4
    needs = frozenset({"pool"})
    takes_soft_labels = False

    def __init__(
        self,
        student: keras.Model,
        *,
        pool: ClassPool | None = None,
        triplet_weight: TripletWeight = 2.0,
        margin: Margin = 0.03,
        same_image_margin: Annotated[
            float | None, Range(0.0), "Margin if the positive is the clean image itself; `margin` if not given."
        ] = None,
        norm_weight: NormWeight = 0.001,
        pairing_weight: PairingWeight = 0.0,
        candidates_per_image: Annotated[Count, "Clean images, per image of a batch, to mine negatives from."] = 10,
        clean_noise: Annotated[Pixels, "Largest noise that is added to the clean image."] = 8 / 255,
        **kwargs: Any,
    ) -> None:
        super().__init__(student, **kwargs)
        self.classifier.check_embedding()
        self.pool = pool
        self.same_image_margin = margin if same_image_margin is None else same_image_margin

    @property
    def term_weights(self) -> dict[str, float]:
        return super().term_weights | {
            "triplet": self.triplet_weight,
            "embedding_norm": self.triplet_weight * self.norm_weight,
            "embedding_pairing": self.pairing_weight,
        }

    def craft(self, clean: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> Tensors:
        adv = super().craft(clean, labels, seed)["adv"]
        positive = self.needed_pool.sample(labels, named_seed(seed, "positive"))
        noise = uniform(tf.shape(clean), named_seed(seed, "clean_noise"), -self.clean_noise, self.clean_noise)
        return {
            "adv": adv,
            "clean": tf.clip_by_value(tf.round(255.0 * (clean + noise)) / 255.0, 0.0, 1.0),
            "positive": augment(self.augmentation, positive, named_seed(seed, "positive_augmentation")),
            "negative": self.mine_negatives(adv, labels, seed),
        }

    def mine_negatives(self, adv: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Returns the clean images of other classes whose embeddings have the largest cosine with those of `adv`.

        Args:
            adv: float32 [B, H, W, C].
            labels: int32 [B].
            seed: int32 [2].

        Returns:
            float32 [B, H, W, C].
        """
        other = random_other_class(labels, self.classifier.num_classes, named_seed(seed, "negative_class"))
        images = self.needed_pool.sample(other, named_seed(seed, "negative"))
        count = (self.candidates_per_image - 1) * tf.shape(labels)[0]
        more, more_labels = self.needed_pool.sample_any(count, named_seed(seed, "candidates"))
        images, classes = tf.concat([images, more], 0), tf.concat([other, more_labels], 0)
        images = augment(self.augmentation, images, named_seed(seed, "candidates_augmentation"))
        anchors, candidates = (
            tf.math.l2_normalize(self.classifier(batch).embedding, axis=1, epsilon=1e-12) for batch in (adv, images)
        )
        cosine = tf.matmul(anchors, candidates, transpose_b=True)
        same = tf.equal(labels[:, None], classes[None, :])
        return tf.gather(images, tf.argmax(tf.where(same, -2.0, cosine), axis=1))

    def loss_terms(self, crafted: Tensors, labels: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        anchor = self.classifier(crafted["adv"], training=True)
        clean, positive, negative = (
            self.classifier(crafted[name], training=True).embedding for name in ("clean", "positive", "negative")
        )
        adv = anchor.embedding
        return {
            "cross_entropy": smoothed_cross_entropy(anchor.logits, labels, self.label_smoothing),
            "triplet": angular_triplet(adv, clean, negative, margin=self.same_image_margin)
            + angular_triplet(adv, positive, negative, margin=self.margin),
            "embedding_norm": embedding_norm(adv, clean, negative) + embedding_norm(adv, positive, negative),
            "embedding_pairing": embedding_pairing(clean, adv),
        }, anchor.logits
