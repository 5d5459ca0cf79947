"""A network for tests of what does not depend on the network: `--model=tiny` where this file is imported."""

import keras

from agkd_tf.models import MODELS
from agkd_tf.models.blocks import Blocks


def tiny(*, image_shape, num_classes, **body):
    """Returns two convolutions with BN and ReLU, and the head of the other networks."""
    blocks = Blocks(**body)
    images, x = blocks.images(image_shape)
    x = blocks.bn_activated(blocks.convolution(x, 8, 3, 2))
    features = blocks.bn_activated(blocks.convolution(x, 16, 3, 2), name="features")
    return keras.Model(images, blocks.head(features, num_classes), name="tiny")


MODELS["tiny"] = (tiny, ())
