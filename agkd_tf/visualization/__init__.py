"""What networks see and how they arrange it, drawn and in numbers, of any model."""

from agkd_tf.visualization.attention import AttentionDrawing, draw_attention
from agkd_tf.visualization.tsne import DrawnModel, TSNEDrawing, draw_tsne

__all__ = ["AttentionDrawing", "DrawnModel", "TSNEDrawing", "draw_attention", "draw_tsne"]
