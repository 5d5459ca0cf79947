"""VGG networks with batch normalisation for small images.

Source: Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR
2015, in the form for 32x32 images: one dense layer.
"""

from typing import Unpack

import keras

from agkd_tf.errors import InputError, check_choice
from agkd_tf.models.blocks import Blocks, Body
from agkd_tf.types import ImageShape

# Depth -> convolutions before each of the five poolings.
STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def vgg(*, depth: int, image_shape: ImageShape, num_classes: int, **body: Unpack[Body]) -> keras.Model:
    """Returns a functional VGG-depth from images in [0, 1] to logits.

    Five stages of 3x3 convolutions (with bias), BN and ReLU, with 64, 128, 256, 512 and 512 filters, each
    ended by 2x2 max-pooling; mean pooling; a dense layer. For 32x32 images the last pooling leaves a single
    position, which cannot show where a network looks: the feature map is the one before it, 2x2.

    Args:
        depth: a key of `STAGES`.
        image_shape: (H, W, C), with H and W at least 32.
        num_classes, **body: as in `agkd_tf.models.wide_resnet`.

    Returns:
        A `keras.Model`: float32 [B, H, W, C] in [0, 1] -> float32 [B, num_classes].

    Raises:
        InputError: for another depth, or smaller images.
    """
    check_choice("depth", depth, sorted(STAGES))
    if min(size or 32 for size in image_shape[:2]) < 32:
        raise InputError(f"`model` vgg-{depth} needs images of at least 32x32. Received: {tuple(image_shape)}")
    blocks = Blocks(**body)
    images, x = blocks.images(image_shape)
    for stage, (count, filters) in enumerate(zip(STAGES[depth], (64, 128, 256, 512, 512), strict=True)):
        for _ in range(count):
            x = blocks.bn_activated(blocks.convolution(x, filters, 3, use_bias=True))
        x = blocks.max_pool(x, name="features" if stage == 4 else None)
    return keras.Model(images, blocks.head(x, num_classes), name=f"vgg_{depth}")
