"""AGKD-BML in Keras: adversarial defenses with a frozen clean teacher, attention and metric losses."""

from agkd_tf.checkpoints import import_weights
from agkd_tf.data import ClassPool, load_dataset
from agkd_tf.defenses import (
    AGKD,
    AGKDBML,
    ALP,
    ARD,
    BML,
    CATCE,
    IGDM,
    MART,
    RSLAD,
    SML,
    TRADES,
    AdaAD,
    AdversarialTraining,
    Bilateral,
    CATMix,
    FeatureScatter,
    Undefended,
)
from agkd_tf.errors import InputError
from agkd_tf.evaluation import audit, evaluate
from agkd_tf.models import adapt
from agkd_tf.version import __version__

__all__ = [
    "AGKD",
    "AGKDBML",
    "ALP",
    "ARD",
    "BML",
    "CATCE",
    "IGDM",
    "MART",
    "RSLAD",
    "SML",
    "TRADES",
    "AdaAD",
    "AdversarialTraining",
    "Bilateral",
    "CATMix",
    "ClassPool",
    "FeatureScatter",
    "InputError",
    "Undefended",
    "__version__",
    "adapt",
    "audit",
    "evaluate",
    "import_weights",
    "load_dataset",
]
