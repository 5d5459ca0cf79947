"""Target classes of targeted attacks."""

import tensorflow as tf

from agkd_tf.attacks.objectives import mask_labels
from agkd_tf.randomness import uniform_integers, uniform_per_example


def most_confusing_class(logits, labels):
    """Returns int32 [B], argmax_{k != label} z_k, which is never the label.

    Source: Wang and Zhang, Bilateral Adversarial Training, ICCV 2019; AGKD-BML (ICCV 2021).

    Args:
        logits: float32 [B, n].
        labels: int32 [B].
    """
    return tf.argmax(mask_labels(logits, labels), axis=1, output_type=tf.int32)


def ranked_other_class(logits, labels, rank):
    """Returns int32 [B], the class with the rank-th largest logit of all but each label, from rank 1 on.

    Args:
        logits: float32 [B, n].
        labels: int32 [B].
        rank: integer in [1, n - 1], Python's or a tensor.
    """
    order = tf.argsort(mask_labels(logits, labels), axis=1, direction="DESCENDING", stable=True)
    return tf.gather(order, rank - 1, axis=1)


def random_other_class(labels, num_classes, seed):
    """Returns int32 [B], a class drawn uniformly from all but each label.

    Args:
        labels: int32 [B].
        num_classes: at least 2.
        seed: int32 [2].
    """
    offset = 1 + uniform_integers(tf.shape(labels), seed, num_classes - 1)
    return (labels + offset) % num_classes


def random_other_class_per_example(labels, num_classes, indices, seed):
    """Returns what `random_other_class` does, each entry a function of `seed` and of its own index.

    Args:
        labels: int32 [B].
        num_classes: at least 2.
        indices: int32 [B], the examples' places in the data set.
        seed: int32 [2].
    """
    unit = uniform_per_example(indices, (), seed)
    offset = tf.minimum(tf.cast(unit * (num_classes - 1), tf.int32), num_classes - 2)
    return (labels + 1 + offset) % num_classes


def nearest_boundary_class(logits, labels, kernel):
    """Returns int32 [B], the class whose boundary the embedding is nearest to (MOSA).

    argmin over the classes k with z_y - z_k > 1e-4 of (z_y - z_k) / ||w_y - w_k||; where no class is
    that much below the label's own, the most confusing class.

    Args:
        logits: float32 [B, n].
        labels: int32 [B].
        kernel: float32 [K, n], the weights of the last dense layer.

    Source: Wang and Zhang, Bilateral Adversarial Training, ICCV 2019 (most one-step attack).
    """
    weights = tf.transpose(tf.cast(kernel, tf.float32))
    spread = tf.norm(tf.gather(weights, labels)[:, None, :] - weights[None, :, :], axis=2)
    gap = tf.gather(logits, labels, batch_dims=1)[:, None] - logits
    distance = tf.where(gap > 1e-4, gap / tf.maximum(spread, 1e-12), logits.dtype.max)
    nearest = tf.argmin(distance, axis=1, output_type=tf.int32)
    found = tf.reduce_any(gap > 1e-4, axis=1)
    return tf.where(found, nearest, most_confusing_class(logits, labels))
