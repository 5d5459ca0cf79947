"""What is written for a person to watch."""

from agkd_tf.monitoring.eps_curve import write_eps_curve
from agkd_tf.monitoring.panels import AttentionPanels, attention_panel

__all__ = ["AttentionPanels", "attention_panel", "write_eps_curve"]
