"""Defenses: Keras models that train a student."""

from agkd_tf.defenses.adaad import AdaAD
from agkd_tf.defenses.adversarial_defense import AdversarialDefense
from agkd_tf.defenses.adversarial_training import AdversarialTraining
from agkd_tf.defenses.agkd import AGKD
from agkd_tf.defenses.agkd_bml import AGKDBML
from agkd_tf.defenses.alp import ALP
from agkd_tf.defenses.ard import ARD
from agkd_tf.defenses.bilateral import Bilateral
from agkd_tf.defenses.bml import BML
from agkd_tf.defenses.cat_ce import CATCE
from agkd_tf.defenses.cat_mix import CATMix
from agkd_tf.defenses.defense import Defense
from agkd_tf.defenses.feature_scatter import FeatureScatter
from agkd_tf.defenses.fgsm_pgi import FGSMPGI
from agkd_tf.defenses.igdm import IGDM
from agkd_tf.defenses.mart import MART
from agkd_tf.defenses.rslad import RSLAD
from agkd_tf.defenses.sml import SML
from agkd_tf.defenses.trades import TRADES
from agkd_tf.defenses.undefended import Undefended

DEFENSES: dict[str, type[Defense]] = {
    "undefended": Undefended,
    "at": AdversarialTraining,
    "alp": ALP,
    "sml": SML,
    "bilateral": Bilateral,
    "feature_scatter": FeatureScatter,
    "trades": TRADES,
    "mart": MART,
    "fgsm_pgi": FGSMPGI,
    "cat_ce": CATCE,
    "cat_mix": CATMix,
    "bml": BML,
    "agkd": AGKD,
    "agkd_bml": AGKDBML,
    "ard": ARD,
    "rslad": RSLAD,
    "adaad": AdaAD,
    "igdm": IGDM,
}

__all__ = [
    "AGKD",
    "AGKDBML",
    "ALP",
    "ARD",
    "BML",
    "CATCE",
    "DEFENSES",
    "FGSMPGI",
    "IGDM",
    "MART",
    "RSLAD",
    "SML",
    "TRADES",
    "AdaAD",
    "AdversarialDefense",
    "AdversarialTraining",
    "Bilateral",
    "CATMix",
    "Defense",
    "FeatureScatter",
    "Undefended",
]
