"""Figures and numbers for any model: attention maps, and t-SNE of embeddings."""

from agkd_tf.visualization.attention import AttentionDrawing, draw_attention
from agkd_tf.visualization.tsne import DrawnModel, TSNEDrawing, draw_tsne

__all__ = ["AttentionDrawing", "DrawnModel", "TSNEDrawing", "draw_attention", "draw_tsne"]
