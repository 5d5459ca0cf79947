"""Attention-guided knowledge distillation."""

import tensorflow as tf

# Smaller differences between two maps count as zero: each map is only precise to about one unit in the last place of 1.
# Where both maps have their maximum, its value is 1 after a division, but may be one unit less if a compiler multiplies
# by the reciprocal instead; rounding would then decide the sign of the gradient.
ROUNDING = 5e-7


def attention_distillation(student_maps: tf.Tensor, teacher_maps: tf.Tensor) -> tf.Tensor:
    """Returns mean |A_student(adversarial) - A_teacher(clean)| over the batch and all positions.

    Where the maps differ only by rounding, the difference and its gradient are zero.

    Args:
        student_maps: float32 [B, h, w], normalised, of the adversarial images.
        teacher_maps: float32 [B, h, w], normalised, of the clean images; no gradient reaches the teacher.

    Returns:
        float32 scalar.

    Source: AGKD-BML, ICCV 2021, the AGKD loss.
    """
    difference = tf.abs(student_maps - tf.stop_gradient(teacher_maps))
    return tf.reduce_mean(tf.where(difference < ROUNDING, 0.0, difference))
