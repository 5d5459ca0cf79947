"""Embeddings (penultimate features) of many images."""

import numpy as np
import tensorflow as tf

from agkd_tf.cores import by_all_cores
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
    def step(batch: tf.Tensor) -> tuple[tf.Tensor]:
        return (classifier(as_float(batch)).embedding,)

    shared = by_all_cores(step.get_concrete_function())
    batches = (images[begin : begin + batch_size] for begin in range(0, len(images), batch_size))
    return np.concatenate([embedding.numpy() for batch in batches for embedding in shared((batch,))])
