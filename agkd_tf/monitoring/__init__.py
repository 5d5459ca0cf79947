"""What is written for a person to watch."""

from agkd_tf.monitoring.panels import AttentionPanels, attention_panel

__all__ = ["AttentionPanels", "attention_panel"]
