"""AGKD-BML in Keras: adversarial defenses with a frozen clean teacher, attention and metric losses."""

from agkd_tf.data import ClassPool, load_dataset
from agkd_tf.defenses import AGKDBML, AdversarialTraining, Undefended
from agkd_tf.errors import InputError

__version__ = "0.1.0"

__all__ = ["AGKDBML", "AdversarialTraining", "ClassPool", "InputError", "Undefended", "load_dataset"]
