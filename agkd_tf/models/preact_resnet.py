"""Pre-activation residual networks with basic blocks for small images.

Source: He et al., Identity Mappings in Deep Residual Networks, ECCV 2016, in the form for 32x32 images.
"""

from typing import Unpack

import keras

from agkd_tf.errors import check_choice
from agkd_tf.models.blocks import SHORTCUTS, Blocks, Body, Shortcut, StridedPadding, staged
from agkd_tf.types import ImageShape

STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


def preact_resnet(
    *,
    depth: int,
    image_shape: ImageShape,
    num_classes: int,
    shortcut: Shortcut = "activated",
    last_bn: bool = True,
    strided_padding: StridedPadding = "both",
    **body: Unpack[Body],
) -> keras.Model:
    """Returns a functional PreAct-ResNet-depth from images in [0, 1] to logits.

    A 3x3 stem of 64 filters; four stages of pre-activation blocks of two 3x3 convolutions with 64, 128,
    256 and 512 filters and strides 1, 2, 2, 2; in blocks that change the shape, a 1x1 shortcut from their
    BN-ReLU output; a last BN and ReLU; mean pooling; a dense layer. Published networks also have other forms.

    Args:
        depth: a key of `STAGES`.
        image_shape, num_classes, **body: as in `agkd_tf.models.wide_resnet`.
        shortcut: "raw" for a shortcut from the block's input (Wong et al., Fast is better than free, 2020); "raw-3x3"
            for the same by a 3x3 convolution (Rebuffi et al., Fixing Data Augmentation, 2021).
        last_bn: whether there is a last BN and ReLU; without, the last block's sum is pooled.
        strided_padding: "end" for the networks of Rebuffi et al. (see `agkd_tf.models.blocks.Blocks`).

    Returns:
        A `keras.Model`: float32 [B, H, W, C] in [0, 1] -> float32 [B, num_classes].

    Raises:
        InputError: for another depth or shortcut.
    """
    check_choice("depth", depth, sorted(STAGES))
    check_choice("shortcut", shortcut, SHORTCUTS)
    blocks = Blocks(strided_padding=strided_padding, **body)

    images, x = blocks.images(image_shape)
    x = blocks.convolution(x, 64, 3)
    for number, (stage, stride, _) in enumerate(staged(STAGES[depth], (1, 2, 2, 2)), start=1):
        is_end = number == sum(STAGES[depth]) and not last_bn
        x = blocks.preactivation(x, 64 * 2**stage, stride, shortcut=shortcut, name="features" if is_end else None)
    features = blocks.bn_activated(x, name="features") if last_bn else x
    return keras.Model(images, blocks.head(features, num_classes), name=f"preact_resnet_{depth}")
