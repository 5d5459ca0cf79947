"""MobileNetV2 for small images.

Source: Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018, in the form for 32x32 images
that robust distillation papers use: fewer strides, ReLU instead of ReLU6, and a 1x1 shortcut with BN where a block of
stride 1 changes the number of filters.
"""

from typing import Unpack

import keras

from agkd_tf.models.blocks import Blocks, Body, staged
from agkd_tf.types import ImageShape

# Of each stage: expansion, filters, blocks, stride of the first block.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet(*, image_shape: ImageShape, num_classes: int, **body: Unpack[Body]) -> keras.Model:
    """Returns a functional MobileNetV2 from images in [0, 1] to logits.

    A 3x3 stem of 32 filters with BN-ReLU; the blocks of `STAGES`; a 1x1 convolution to 1280 filters with BN-ReLU (4x4
    for 32x32 images); mean pooling; a dense layer. A block expands its input by a 1x1 convolution with BN-ReLU, filters
    each channel by a 3x3 one with BN-ReLU, and reduces it by a 1x1 one with BN alone; blocks of stride 1 add their
    input.

    Args:
        image_shape, num_classes, **body: as in `agkd_tf.models.wide_resnet`.

    Returns:
        A `keras.Model`: float32 [B, H, W, C] in [0, 1] -> float32 [B, num_classes].

    Raises:
        InputError: as `Blocks`.
    """
    blocks = Blocks(**body)
    images, x = blocks.images(image_shape)
    x = blocks.bn_activated(blocks.convolution(x, 32, 3))
    _, _, counts, strides = zip(*STAGES, strict=True)
    for stage, stride, _ in staged(counts, strides):
        expansion, filters, *_ = STAGES[stage]
        branch = blocks.bn_activated(blocks.convolution(x, expansion * x.shape[-1], 1))
        branch = blocks.bn_activated(blocks.depthwise(branch, 3, stride))
        branch = blocks.bn(blocks.convolution(branch, filters, 1))
        if stride == 1 and x.shape[-1] != filters:
            x = blocks.bn(blocks.convolution(x, filters, 1))
        x = blocks.add(branch, x) if stride == 1 else branch
    features = blocks.bn_activated(blocks.convolution(x, 1280, 1), name="features")
    return keras.Model(images, blocks.head(features, num_classes), name="mobilenet_v2")
