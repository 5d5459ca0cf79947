"""Embeddings (penultimate features) of many images."""

import numpy as np
import tensorflow as tf

from agkd_tf.data.image_dataset import ImagesOnDisk
from agkd_tf.data.pixels import as_float
from agkd_tf.models import Classifier


def embed(classifier: Classifier, images: np.ndarray | ImagesOnDisk, *, batch_size: int = 100) -> np.ndarray:
    """Returns the embeddings of images, in inference mode.

    Args:
        classifier: `agkd_tf.models.Classifier`.
        images: uint8, or float32 in [0, 1], [N, H, W, C].
        batch_size: images per step.

    Returns:
        float32 [N, K].
    """
    signature = [tf.TensorSpec([None, *images.shape[1:]], images.dtype)]

    @tf.function(autograph=False, input_signature=signature)
    def step(batch: tf.Tensor) -> tf.Tensor:
        return classifier(as_float(batch)).embedding

    parts = range(0, len(images), batch_size)
    return np.concatenate([step(images[begin : begin + batch_size]).numpy() for begin in parts])
