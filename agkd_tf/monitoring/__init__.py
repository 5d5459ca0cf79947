"""What is written for a person to watch."""

from agkd_tf.monitoring.attention_figure import AttentionPanels, attention_figure, most_attacked
from agkd_tf.monitoring.dashboard import EpochScalars, hparams_callback, write_layout
from agkd_tf.monitoring.eps_curve import write_eps_curve
from agkd_tf.monitoring.figure import pixels, save_figure
from agkd_tf.monitoring.projector import write_projector
from agkd_tf.monitoring.tsne_figure import TSNEPanel, tsne_figure

__all__ = [
    "AttentionPanels",
    "EpochScalars",
    "TSNEPanel",
    "attention_figure",
    "hparams_callback",
    "most_attacked",
    "pixels",
    "save_figure",
    "tsne_figure",
    "write_eps_curve",
    "write_layout",
    "write_projector",
]
