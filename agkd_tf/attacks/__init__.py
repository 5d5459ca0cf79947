"""Attacks: functions of images and a callable `images -> logits`."""

from agkd_tf.attacks.gradient_attack import ATTACK_NAMES, ATTACKS, GradientAttack, parse_attack
from agkd_tf.attacks.pgd import input_gradient, projected_gradient_descent
from agkd_tf.attacks.targets import most_confusing_class, nearest_boundary_class, random_other_class

__all__ = [
    "ATTACKS",
    "ATTACK_NAMES",
    "GradientAttack",
    "input_gradient",
    "most_confusing_class",
    "nearest_boundary_class",
    "parse_attack",
    "projected_gradient_descent",
    "random_other_class",
]
