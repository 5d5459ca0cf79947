"""Pre-activation bottleneck networks (the ResNet-50 family) with a stem for 64x64 images.

Source: He et al., Identity Mappings in Deep Residual Networks, ECCV 2016; the stem and strides of SML's
released Tiny ImageNet network.
"""

import keras

from agkd_tf.errors import check_choice
from agkd_tf.models.blocks import Blocks, staged
from agkd_tf.types import ImageShape

# Depth -> blocks per stage. 38 is what SML's released code builds under the name ResNet-50.
STAGES = {38: (2, 3, 5, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def resnet(
    *, depth: int, image_shape: ImageShape, num_classes: int, dtype: str | None = None, seed: int = 0
) -> keras.Model:
    """Returns a functional ResNet-depth from images in [0, 1] to logits.

    A 7x7 stem of 64 filters with stride 1 and BN-ReLU, no max-pooling; four stages of pre-activation
    bottlenecks with 256, 512, 1024 and 2048 filters and strides 1, 2, 2, 2 in the first 1x1 convolution; in
    each stage's first block, a 1x1 shortcut from the block's raw input; a last BN and ReLU (8x8 for 64x64
    images); mean pooling; a dense layer.

    Args:
        depth: a key of `STAGES`.
        image_shape, num_classes, dtype, seed: as in `agkd_tf.models.wide_resnet`.

    Returns:
        A `keras.Model`: float32 [B, H, W, C] in [0, 1] -> float32 [B, num_classes].

    Raises:
        InputError: for another depth.
    """
    check_choice("depth", depth, sorted(STAGES))
    blocks = Blocks(dtype=dtype, seed=seed)

    def block(x: keras.KerasTensor, filters: int, stride: int, first: bool) -> keras.KerasTensor:
        branch = blocks.convolution(blocks.bn_relu(x), filters // 4, 1, stride)
        branch = blocks.convolution(blocks.bn_relu(branch), filters // 4, 3)
        branch = blocks.convolution(blocks.bn_relu(branch), filters, 1)
        return blocks.add(branch, blocks.convolution(x, filters, 1, stride) if first else x)

    images, x = blocks.images(image_shape)
    x = blocks.bn_relu(blocks.convolution(x, 64, 7))
    for stage, stride, first in staged(STAGES[depth], (1, 2, 2, 2)):
        x = block(x, 256 * 2**stage, stride, first)
    features = blocks.bn_relu(x, name="features")
    return keras.Model(images, blocks.head(features, num_classes), name=f"resnet_{depth}")
