"""Attacks on image classifiers: objects that return adversarial images within a norm ball.

from agkd_tf.attacks import PGD, AutoAttack

adversarial = PGD(steps=20)(model, images, labels, eps=8 / 255)
adversarial = AutoAttack()(model, images, labels, eps=0.5, norm="l2")
"""

from agkd_tf.attacks.apgd import APGD
from agkd_tf.attacks.attack import Attack
from agkd_tf.attacks.auto_attack import AutoAttack
from agkd_tf.attacks.ball import NORMS, Ball, Norm
from agkd_tf.attacks.cr import CR
from agkd_tf.attacks.ddn import DDN
from agkd_tf.attacks.fab import FAB
from agkd_tf.attacks.fmn import FMN
from agkd_tf.attacks.malt import MALT
from agkd_tf.attacks.minimum_norm import MinimumNormAttack
from agkd_tf.attacks.pgd import BIM, CW, FGSM, MIM, PGD, Clean, input_gradient
from agkd_tf.attacks.registry import ATTACK_NAMES, attack_named, bound, parse_attack
from agkd_tf.attacks.rounding import rounded
from agkd_tf.attacks.sequence import AttackSequence, check_names
from agkd_tf.attacks.square import SquareAttack
from agkd_tf.attacks.targets import random_other_class
from agkd_tf.attacks.transfer import TransferAttack

__all__ = [
    "APGD",
    "ATTACK_NAMES",
    "BIM",
    "CR",
    "CW",
    "DDN",
    "FAB",
    "FGSM",
    "FMN",
    "MALT",
    "MIM",
    "NORMS",
    "PGD",
    "Attack",
    "AttackSequence",
    "AutoAttack",
    "Ball",
    "Clean",
    "MinimumNormAttack",
    "Norm",
    "SquareAttack",
    "TransferAttack",
    "attack_named",
    "bound",
    "check_names",
    "input_gradient",
    "parse_attack",
    "random_other_class",
    "rounded",
]
