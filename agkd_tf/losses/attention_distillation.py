"""Attention-guided knowledge distillation."""

import tensorflow as tf


def attention_distillation(student_maps: tf.Tensor, teacher_maps: tf.Tensor) -> tf.Tensor:
    """Returns mean |A_student(adversary) - A_teacher(clean)| over the batch and all places.

    Args:
        student_maps: float32 [B, h, w], normalised, of the adversarial images.
        teacher_maps: float32 [B, h, w], normalised, of the clean ones; no gradient reaches the teacher.

    Returns:
        float32 scalar.

    Source: AGKD-BML, ICCV 2021, the AGKD loss.
    """
    return tf.reduce_mean(tf.abs(student_maps - tf.stop_gradient(teacher_maps)))
