"""Building blocks of the networks: convolutions, BN and activation, the head."""

from collections.abc import Iterator, Sequence
from typing import Literal, TypedDict

import keras
from keras import layers

from agkd_tf.errors import InputError, check_choice
from agkd_tf.models.adapt import pixel_scale_and_offset
from agkd_tf.types import ImageShape

ACTIVATIONS = ("relu", "silu")
SHORTCUTS = ("activated", "raw", "raw-3x3")
STRIDED_PADDINGS = ("both", "end")

#: What the shortcut of a pre-activation block that changes the shape convolves: the activation of BN(x), by 1x1; the
#: block's own input x, by 1x1; x by 3x3.
Shortcut = Literal["activated", "raw", "raw-3x3"]
#: Where a strided convolution is padded: on both sides, or at the bottom and right only.
StridedPadding = Literal["both", "end"]

# PyTorch's momentum of 0.1 is Keras' 0.9; Keras' own defaults (0.99 and 1e-3) would make a different network.
BN_MOMENTUM, BN_EPSILON = 0.9, 1e-5


class Body(TypedDict, total=False):
    """What can be chosen for every network: the arguments of `Blocks`."""

    dtype: str | None
    seed: int
    activation: str
    input_mean: float | Sequence[float] | None
    input_std: float | Sequence[float] | None


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
        activation: "relu", or "silu" (x * sigmoid(x)) in its place, everywhere in the network.
        input_mean, input_std: the network receives (images - input_mean) / input_std, with one number or one per
            channel, in units of images in [0, 1]; None for both to scale images to [-1, 1].
        strided_padding: where 3x3 convolutions of stride 2 are padded: "both" is PyTorch's way; "end", at the bottom
            and right, that of TensorFlow and JAX for sizes that the stride divides.

    Raises:
        InputError: for another activation or padding, or one of `input_mean` and `input_std` without the other.
    """

    def __init__(
        self,
        *,
        dtype: str | None = None,
        seed: int = 0,
        activation: str = "relu",
        input_mean: float | Sequence[float] | None = None,
        input_std: float | Sequence[float] | None = None,
        strided_padding: StridedPadding = "both",
    ) -> None:
        check_choice("activation", activation, ACTIVATIONS)
        check_choice("strided_padding", strided_padding, STRIDED_PADDINGS)
        if (input_mean is None) != (input_std is None):
            given, other = ("input_mean", "input_std") if input_std is None else ("input_std", "input_mean")
            raise InputError(f"`{given}` needs `{other}`: give both, or neither to scale images to [-1, 1]")
        self.dtype, self.activation = dtype, activation
        self.input_mean, self.input_std = input_mean, input_std
        self._strided_padding = strided_padding
        self._seeds = iter(range(seed * 1000, (seed + 1) * 1000))

    def images(self, image_shape: ImageShape) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Returns (the input, the input normalised by mean and standard deviation, or scaled to [-1, 1]).

        Raises:
            InputError: for a mean or a standard deviation that does not fit images in [0, 1] with these channels.
        """
        images = keras.Input(image_shape, name="images")
        scale: float | list[float] = 2.0
        offset: float | list[float] = -1.0
        if self.input_mean is not None:
            scale, offset = pixel_scale_and_offset(
                (0, 1),
                self.input_mean,
                self.input_std,
                image_shape[-1] or 1,
                prefix="input_",
                units="the images' range",
            )
        return images, layers.Rescaling(scale, offset, name="scaling", dtype=self.dtype)(images)

    def convolution(
        self, x: keras.KerasTensor, filters: int, kernel: int, stride: int = 1, *, use_bias: bool = False
    ) -> keras.KerasTensor:
        """Applies a convolution with He's fan-out initialisation to x, padded to keep its size (see `Blocks`)."""
        x, padding = self._padded(x, kernel, stride)
        return layers.Conv2D(
            filters,
            kernel,
            stride,
            padding,
            use_bias=use_bias,
            kernel_initializer=self._he_fan_out(),
            dtype=self.dtype,
        )(x)

    def depthwise(self, x: keras.KerasTensor, kernel: int, stride: int = 1) -> keras.KerasTensor:
        """Applies a convolution to each channel of x by itself, without bias; otherwise as `convolution`."""
        x, padding = self._padded(x, kernel, stride)
        return layers.DepthwiseConv2D(
            kernel, stride, padding, use_bias=False, depthwise_initializer=self._he_fan_out(), dtype=self.dtype
        )(x)

    def _padded(self, x: keras.KerasTensor, kernel: int, stride: int) -> tuple[keras.KerasTensor, str]:
        # Keras' `same` pads a strided convolution at the bottom right only; PyTorch pads both sides.
        if kernel > 1 and stride > 1:
            sides = (kernel // 2, kernel // 2) if self._strided_padding == "both" else (0, kernel // 2)
            return layers.ZeroPadding2D((sides, sides), dtype=self.dtype)(x), "valid"
        return x, "same"

    def _he_fan_out(self) -> keras.initializers.Initializer:
        return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal", seed=next(self._seeds))

    def bn(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Returns BN(x)."""
        return layers.BatchNormalization(momentum=BN_MOMENTUM, epsilon=BN_EPSILON, dtype=self.dtype)(x)

    def activated(self, x: keras.KerasTensor, name: str | None = None) -> keras.KerasTensor:
        """Returns the activation of x."""
        if self.activation == "relu":
            return layers.ReLU(dtype=self.dtype, name=name)(x)
        return layers.Activation(self.activation, dtype=self.dtype, name=name)(x)

    def bn_activated(self, x: keras.KerasTensor, name: str | None = None) -> keras.KerasTensor:
        """Returns the activation of BN(x)."""
        return self.activated(self.bn(x), name)

    def max_pool(self, x: keras.KerasTensor, name: str | None = None) -> keras.KerasTensor:
        """Returns x at half its height and width."""
        return layers.MaxPooling2D(2, dtype=self.dtype, name=name)(x)

    def add(self, branch: keras.KerasTensor, shortcut: keras.KerasTensor, name: str | None = None) -> keras.KerasTensor:
        """Returns the sum of the two."""
        return layers.Add(dtype=self.dtype, name=name)([branch, shortcut])

    def preactivation(
        self,
        x: keras.KerasTensor,
        filters: int,
        stride: int = 1,
        *,
        shortcut: Shortcut = "activated",
        name: str | None = None,
    ) -> keras.KerasTensor:
        """Applies a pre-activation block of two 3x3 convolutions to x.

        If the shape changes, x or the activation of BN(x) is convolved for the shortcut, too.

        Args:
            x: the block's input.
            filters: of its convolutions.
            stride: of the first one, and of the shortcut.
            shortcut: what the shortcut convolves (see `Shortcut`), if the shape changes.
            name: of the layer that returns the sum.
        """
        activated = self.bn_activated(x)
        skipped = x
        if stride != 1 or x.shape[-1] != filters:
            source, kernel = activated if shortcut == "activated" else x, 3 if shortcut == "raw-3x3" else 1
            skipped = self.convolution(source, filters, kernel, stride)
        branch = self.bn_activated(self.convolution(activated, filters, 3, stride))
        return self.add(self.convolution(branch, filters, 3), skipped, name)

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
