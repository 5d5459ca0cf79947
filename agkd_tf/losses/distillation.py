"""Losses that teach a student the predictions of a frozen teacher."""

import tensorflow as tf

from agkd_tf.losses.divergence import kl_divergence


def softened_divergence(teacher_logits: tf.Tensor, student_logits: tf.Tensor, temperature: float = 1.0) -> tf.Tensor:
    """Returns the batch mean of T^2 KL(softmax(t / T) || softmax(s / T)), summed over the classes.

    T^2 keeps the size of the gradient about the same for every temperature T. Gradients flow through both arguments.
    The released code of ARD and RSLAD divides by the number of classes, too.

    Args:
        teacher_logits, student_logits: t and s, float32 [B, n].
        temperature: T, above 0.

    Returns:
        float32 scalar.

    Source: Hinton et al., Distilling the Knowledge in a Neural Network, 2015, section 2; between images and
    adversaries: Goldblum et al., Adversarially Robust Distillation, AAAI 2020.
    """
    divergence = kl_divergence(teacher_logits / temperature, student_logits / temperature)
    return temperature**2 * tf.reduce_mean(divergence)


def gradient_matching(
    teacher_ahead: tf.Tensor, teacher_behind: tf.Tensor, student_ahead: tf.Tensor, student_behind: tf.Tensor
) -> tf.Tensor:
    """Returns the batch mean of KL(softmax(t+ - t-) || softmax(s+ - s-)), summed over the classes.

    t+ and t- are logits at x + d and x - d, so that their difference is to first order twice the derivative along d:
    what is matched is how teacher and student change with their input. It ignores a constant between s and t. Gradients
    flow through all arguments.

    Args:
        teacher_ahead, teacher_behind: t+ and t-, float32 [B, n].
        student_ahead, student_behind: s+ and s-, float32 [B, n].

    Returns:
        float32 scalar.

    Source: Lee et al., Indirect Gradient Matching for Adversarial Robust Distillation, ICLR 2025, and the authors'
    released code.
    """
    return tf.reduce_mean(kl_divergence(teacher_ahead - teacher_behind, student_ahead - student_behind))
