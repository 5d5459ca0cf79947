"""Target classes of targeted attacks."""

import tensorflow as tf

from agkd_tf.attacks.objectives import mask_labels


def most_confusing_class(logits, labels):
    """Returns int32 [B], argmax_{k != label} z_k, which is never the label.

    Source: Wang and Zhang, Bilateral Adversarial Training, ICCV 2019; AGKD-BML (ICCV 2021).

    Args:
        logits: float32 [B, n].
        labels: int32 [B].
    """
    return tf.argmax(mask_labels(logits, labels), axis=1, output_type=tf.int32)
