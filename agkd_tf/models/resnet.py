"""Residual networks: basic blocks for small images, and pre-activation bottlenecks with a stem for 64x64 images.

Sources: resnet-18 and -34 are He et al., Deep Residual Learning for Image Recognition, CVPR 2016, in the form for
32x32 images that adversarial training papers use. The deeper ones are He et al., Identity Mappings in Deep Residual
Networks, ECCV 2016, with the stem and strides of SML's released Tiny ImageNet network.
"""

from typing import Unpack

import keras

from agkd_tf.errors import check_choice
from agkd_tf.models.blocks import Blocks, Body, staged
from agkd_tf.types import ImageShape

# Depth -> basic blocks per stage.
BASIC = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
# Depth -> bottlenecks per stage. 38 is what SML's released code builds under the name ResNet-50.
BOTTLENECKS = {38: (2, 3, 5, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
STRIDES = (1, 2, 2, 2)


def resnet(*, depth: int, image_shape: ImageShape, num_classes: int, **body: Unpack[Body]) -> keras.Model:
    """Returns a functional ResNet-depth from images in [0, 1] to logits.

    Depths 18 and 34, for small images: a 3x3 stem of 64 filters with BN-ReLU; four stages of blocks of two 3x3
    convolutions, BN-ReLU after the first, BN after the second and ReLU after the sum, with 64, 128, 256 and 512 filters
    and strides 1, 2, 2, 2; in blocks that change the shape, a 1x1 shortcut with BN (4x4 for 32x32 images).

    Other depths, for 64x64 images: a 7x7 stem of 64 filters with stride 1 and BN-ReLU, no max-pooling; four stages of
    pre-activation bottlenecks with 256, 512, 1024 and 2048 filters and strides 1, 2, 2, 2 in the first 1x1
    convolution; in each stage's first block, a 1x1 shortcut from the block's raw input; a last BN and ReLU (8x8 for
    64x64 images).

    Both end in mean pooling and a dense layer.

    Args:
        depth: a key of `BASIC` or `BOTTLENECKS`.
        image_shape, num_classes, **body: as in `agkd_tf.models.wide_resnet`.

    Returns:
        A `keras.Model`: float32 [B, H, W, C] in [0, 1] -> float32 [B, num_classes].

    Raises:
        InputError: for another depth.
    """
    check_choice("depth", depth, sorted([*BASIC, *BOTTLENECKS]))
    blocks = Blocks(**body)
    images, x = blocks.images(image_shape)
    features = _basic(blocks, x, BASIC[depth]) if depth in BASIC else _bottlenecks(blocks, x, BOTTLENECKS[depth])
    return keras.Model(images, blocks.head(features, num_classes), name=f"resnet_{depth}")


def _basic(blocks: Blocks, x: keras.KerasTensor, counts: tuple[int, ...]) -> keras.KerasTensor:
    """Returns the feature map of a network with basic blocks."""
    x = blocks.bn_activated(blocks.convolution(x, 64, 3))
    for number, (stage, stride, _) in enumerate(staged(counts, STRIDES), start=1):
        filters = 64 * 2**stage
        branch = blocks.bn_activated(blocks.convolution(x, filters, 3, stride))
        branch = blocks.bn(blocks.convolution(branch, filters, 3))
        if stride != 1 or x.shape[-1] != filters:
            x = blocks.bn(blocks.convolution(x, filters, 1, stride))
        x = blocks.activated(blocks.add(branch, x), name="features" if number == sum(counts) else None)
    return x


def _bottlenecks(blocks: Blocks, x: keras.KerasTensor, counts: tuple[int, ...]) -> keras.KerasTensor:
    """Returns the feature map of a network with pre-activation bottlenecks."""
    x = blocks.bn_activated(blocks.convolution(x, 64, 7))
    for stage, stride, first in staged(counts, STRIDES):
        filters = 256 * 2**stage
        branch = blocks.convolution(blocks.bn_activated(x), filters // 4, 1, stride)
        branch = blocks.convolution(blocks.bn_activated(branch), filters // 4, 3)
        branch = blocks.convolution(blocks.bn_activated(branch), filters, 1)
        x = blocks.add(branch, blocks.convolution(x, filters, 1, stride) if first else x)
    return blocks.bn_activated(x, name="features")
