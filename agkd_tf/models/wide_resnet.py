"""Wide residual networks for small images.

Source: Zagoruyko and Komodakis, Wide Residual Networks, BMVC 2016; in the pre-activation form and with the
initialisation that adversarial training papers use (TRADES, MART, FS, AGKD-BML).
"""

from typing import Unpack

import keras

from agkd_tf.errors import InputError, check_range
from agkd_tf.models.blocks import Blocks, Body, StridedPadding, staged
from agkd_tf.types import ImageShape


def wide_resnet(
    *,
    depth: int,
    width: int,
    image_shape: ImageShape,
    num_classes: int,
    strided_padding: StridedPadding = "both",
    **body: Unpack[Body],
) -> keras.Model:
    """Returns a functional WRN-depth-width from images in [0, 1] to logits.

    A 3x3 stem of 16 filters; three stages of (depth - 4) / 6 pre-activation blocks with 16, 32 and 64
    times `width` filters and strides 1, 2, 2; a last BN and ReLU; mean pooling; a dense layer. A block that
    changes the number of filters or the size feeds its BN-ReLU output to both the branch and a 1x1 shortcut.

    Args:
        depth: 10, 16, 22, 28, 34, ...: 6n + 4.
        width: widening factor, at least 1.
        image_shape: (H, W, C), with H and W at least 4.
        num_classes: number of logits.
        strided_padding: "end" for the networks of Gowal et al. (Uncovering the Limits of Adversarial Training, 2020)
            and of those who build on them (see `agkd_tf.models.blocks.Blocks`).
        **body: as `agkd_tf.models.blocks.Blocks`: dtype policy (the logits are always float32), seed, activation (in
            place of ReLU, here and in other networks) and normalisation of the images.

    Returns:
        A `keras.Model`: float32 [B, H, W, C] in [0, 1] -> float32 [B, num_classes].

    Raises:
        InputError: if the depth or the width is not valid.
    """
    if depth < 10 or (depth - 4) % 6:
        raise InputError(f"`depth` of a WRN must be 10, 16, 22, 28, 34, ... (6n + 4). Received: {depth}")
    check_range("width", width, 1)
    blocks = Blocks(strided_padding=strided_padding, **body)

    images, x = blocks.images(image_shape)
    x = blocks.convolution(x, 16, 3)
    for stage, stride, _ in staged(3 * [(depth - 4) // 6], (1, 2, 2)):
        x = blocks.preactivation(x, 16 * width * 2**stage, stride)
    features = blocks.bn_activated(x, name="features")
    return keras.Model(images, blocks.head(features, num_classes), name=f"wrn_{depth}_{width}")
