"""Attention-guided knowledge distillation."""

import tensorflow as tf

# Two maps that differ by less are one: each is known to a unit in the last place of 1 or so. Where both have their
# maximum, which is 1 after a division and may be less by such a unit after a compiler's multiplication by the
# reciprocal, the gradient would otherwise be of a sign that rounding decides.
ROUNDING = 5e-7


def attention_distillation(student_maps: tf.Tensor, teacher_maps: tf.Tensor) -> tf.Tensor:
    """Returns mean |A_student(adversary) - A_teacher(clean)| over the batch and all places.

    Where the maps agree but for rounding, the difference, and its gradient, are zero.

    Args:
        student_maps: float32 [B, h, w], normalised, of the adversarial images.
        teacher_maps: float32 [B, h, w], normalised, of the clean ones; no gradient reaches the teacher.

    Returns:
        float32 scalar.

    Source: AGKD-BML, ICCV 2021, the AGKD loss.
    """
    difference = tf.abs(student_maps - tf.stop_gradient(teacher_maps))
    return tf.reduce_mean(tf.where(difference < ROUNDING, 0.0, difference))
