"""Attacks: functions of images and a callable `images -> logits`."""

from agkd_tf.attacks.apgd import auto_pgd
from agkd_tf.attacks.fab import fast_adaptive_boundary
from agkd_tf.attacks.gradient_attack import NORMS, GradientAttack, pgd_attack
from agkd_tf.attacks.pgd import input_gradient, projected_gradient_descent
from agkd_tf.attacks.registry import ATTACK_NAMES, AttackSequence, parse_attack
from agkd_tf.attacks.rounding import rounded
from agkd_tf.attacks.square import square_l2, square_linf
from agkd_tf.attacks.targets import random_other_class
from agkd_tf.attacks.transfer import TransferAttack

__all__ = [
    "ATTACK_NAMES",
    "NORMS",
    "AttackSequence",
    "GradientAttack",
    "TransferAttack",
    "auto_pgd",
    "fast_adaptive_boundary",
    "input_gradient",
    "parse_attack",
    "pgd_attack",
    "projected_gradient_descent",
    "random_other_class",
    "rounded",
    "square_l2",
    "square_linf",
]
