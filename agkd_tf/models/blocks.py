"""Building blocks of the networks: convolutions, BN-ReLU, the head."""

from collections.abc import Iterator, Sequence

import keras
from keras import layers

from agkd_tf.types import ImageShape

# PyTorch's momentum of 0.1 is Keras' 0.9; Keras' own defaults (0.99 and 1e-3) would make a different network.
BN_MOMENTUM, BN_EPSILON = 0.9, 1e-5


def staged(counts: Sequence[int], strides: Sequence[int]) -> Iterator[tuple[int, int, bool]]:
    """Yields (stage, stride, whether it is the stage's first block) per block; only the first block has the stride.

    Args:
        counts: number of blocks per stage.
        strides: stride of each stage.
    """
    for stage, (count, stride) in enumerate(zip(counts, strides, strict=True)):
        for number in range(count):
            yield stage, stride if number == 0 else 1, number == 0


class Blocks:
    """Makes the layers of one network; each convolution and dense layer gets its own seed.

    Args:
        dtype: Keras dtype policy of the body, such as "mixed_bfloat16".
        seed: integer; fixes the initial weights.
    """

    def __init__(self, *, dtype: str | None = None, seed: int = 0) -> None:
        self.dtype = dtype
        self._seeds = iter(range(seed * 1000, (seed + 1) * 1000))

    def images(self, image_shape: ImageShape) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Returns (the input, the input scaled from [0, 1] to [-1, 1])."""
        images = keras.Input(image_shape, name="images")
        return images, layers.Rescaling(2.0, -1.0, name="scaling", dtype=self.dtype)(images)

    def convolution(
        self, x: keras.KerasTensor, filters: int, kernel: int, stride: int = 1, *, use_bias: bool = False
    ) -> keras.KerasTensor:
        """Applies a convolution with He's fan-out initialisation to x, padded equally on all sides."""
        # Keras' `same` pads a strided convolution at the bottom right only; PyTorch pads both sides.
        padding = "same"
        if kernel > 1 and stride > 1:
            x, padding = layers.ZeroPadding2D(kernel // 2, dtype=self.dtype)(x), "valid"
        he_fan_out = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal", seed=next(self._seeds))
        return layers.Conv2D(
            filters,
            kernel,
            stride,
            padding,
            use_bias=use_bias,
            kernel_initializer=he_fan_out,
            dtype=self.dtype,
        )(x)

    def bn_relu(self, x: keras.KerasTensor, name: str | None = None) -> keras.KerasTensor:
        """Returns ReLU(BN(x))."""
        x = layers.BatchNormalization(momentum=BN_MOMENTUM, epsilon=BN_EPSILON, dtype=self.dtype)(x)
        return layers.ReLU(dtype=self.dtype, name=name)(x)

    def max_pool(self, x: keras.KerasTensor, name: str | None = None) -> keras.KerasTensor:
        """Returns x at half its height and width."""
        return layers.MaxPooling2D(2, dtype=self.dtype, name=name)(x)

    def add(self, branch: keras.KerasTensor, shortcut: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the sum of the two."""
        return layers.Add(dtype=self.dtype)([branch, shortcut])

    def preactivation(self, x: keras.KerasTensor, filters: int, stride: int = 1) -> keras.KerasTensor:
        """Applies a pre-activation block of two 3x3 convolutions to x.

        If the shape changes, BN-ReLU of x feeds both the branch and a 1x1 shortcut.
        """
        activated = self.bn_relu(x)
        changes_shape = stride != 1 or x.shape[-1] != filters
        shortcut = self.convolution(activated, filters, 1, stride) if changes_shape else x
        branch = self.bn_relu(self.convolution(activated, filters, 3, stride))
        return self.add(self.convolution(branch, filters, 3), shortcut)

    def head(self, features: keras.KerasTensor, num_classes: int) -> keras.KerasTensor:
        """Returns float32 logits of features: mean pooling and a dense layer."""
        # Pooling, logits and losses accumulate in float32, whatever dtype the convolutions use.
        embedding = layers.GlobalAveragePooling2D(name="embedding", dtype="float32")(features)
        bound = embedding.shape[-1] ** -0.5
        return layers.Dense(
            num_classes,
            kernel_initializer=keras.initializers.RandomUniform(-bound, bound, seed=next(self._seeds)),
            name="logits",
            dtype="float32",
        )(embedding)
