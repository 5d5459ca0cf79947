"""Defenses: Keras models that train a student."""

from agkd_tf.defenses.adversarial_training import AdversarialTraining
from agkd_tf.defenses.agkd_bml import AGKDBML
from agkd_tf.defenses.defense import Defense
from agkd_tf.defenses.undefended import Undefended

DEFENSES = {
    "undefended": Undefended,
    "at": AdversarialTraining,
    "agkd_bml": AGKDBML,
}

__all__ = ["AGKDBML", "DEFENSES", "AdversarialTraining", "Defense", "Undefended"]
