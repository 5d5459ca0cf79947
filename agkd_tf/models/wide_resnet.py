"""Wide residual networks for small images.

Source: Zagoruyko and Komodakis, Wide Residual Networks, BMVC 2016; the pre-activation form that
adversarial training papers use (TRADES, MART, FS, AGKD-BML), with their initialisation.
"""

import keras
from keras import layers

from agkd_tf.errors import InputError, check_range

# PyTorch's momentum 0.1 is Keras' 0.9; Keras' own defaults (0.99 and 1e-3) are another network.
BN_MOMENTUM, BN_EPSILON = 0.9, 1e-5


def wide_resnet(*, depth, width, image_shape, num_classes, dtype=None, seed=0):
    """Returns a functional WRN-depth-width from images in [0, 1] to logits.

    A 3x3 stem of 16 filters; three stages of (depth - 4) / 6 pre-activation blocks with 16, 32 and 64
    times `width` filters and strides 1, 2, 2; a last BN and ReLU; mean pooling; a dense layer. The
    first block of a stage feeds its BN-ReLU output to both the branch and a 1x1 shortcut.

    Args:
        depth: 10, 16, 22, 28, 34, ...: 6n + 4.
        width: widening factor, at least 1.
        image_shape: (H, W, C), with H and W at least 8.
        num_classes: number of logits.
        dtype: Keras dtype policy, such as "mixed_bfloat16"; the logits are always float32.
        seed: integer; fixes the initial weights.

    Returns:
        A `keras.Model`: float32 [B, H, W, C] in [0, 1] -> float32 [B, num_classes].

    Raises:
        InputError: if the depth or the width is not valid.
    """
    if depth < 10 or (depth - 4) % 6:
        raise InputError(f"`depth` of a WRN must be 10, 16, 22, 28, 34, ... (6n + 4). Received: {depth}")
    check_range("width", width, 1)
    blocks = (depth - 4) // 6
    seeds = iter(range(seed * 1000, (seed + 1) * 1000))

    def convolution(x, filters, kernel, stride=1):
        # Keras' `same` pads a strided convolution at the bottom right only; PyTorch pads both sides.
        padding = "same"
        if kernel > 1 and stride > 1:
            x, padding = layers.ZeroPadding2D(kernel // 2, dtype=dtype)(x), "valid"
        he_fan_out = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal", seed=next(seeds))
        return layers.Conv2D(
            filters,
            kernel,
            stride,
            padding,
            use_bias=False,
            kernel_initializer=he_fan_out,
            dtype=dtype,
        )(x)

    def bn_relu(x):
        x = layers.BatchNormalization(momentum=BN_MOMENTUM, epsilon=BN_EPSILON, dtype=dtype)(x)
        return layers.ReLU(dtype=dtype)(x)

    def block(x, filters, stride):
        activated = bn_relu(x)
        changes_shape = stride != 1 or x.shape[-1] != filters
        shortcut = convolution(activated, filters, 1, stride) if changes_shape else x
        branch = bn_relu(convolution(activated, filters, 3, stride))
        return layers.Add(dtype=dtype)([convolution(branch, filters, 3), shortcut])

    images = keras.Input(image_shape, name="images")
    x = layers.Rescaling(2.0, -1.0, name="scaling", dtype=dtype)(images)
    x = convolution(x, 16, 3)
    for stage, stride in enumerate((1, 2, 2)):
        for number in range(blocks):
            x = block(x, 16 * width * 2**stage, stride if number == 0 else 1)
    x = layers.BatchNormalization(momentum=BN_MOMENTUM, epsilon=BN_EPSILON, dtype=dtype)(x)
    features = layers.ReLU(name="features", dtype=dtype)(x)
    # Pooling, logits and losses accumulate in float32 whatever the convolutions compute in.
    embedding = layers.GlobalAveragePooling2D(name="embedding", dtype="float32")(features)
    bound = embedding.shape[-1] ** -0.5
    logits = layers.Dense(
        num_classes,
        kernel_initializer=keras.initializers.RandomUniform(-bound, bound, seed=next(seeds)),
        name="logits",
        dtype="float32",
    )(embedding)
    return keras.Model(images, logits, name=f"wrn_{depth}_{width}")
