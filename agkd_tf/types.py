"""Types that many packages share.

TensorFlow and Keras ship without types: to a type checker, `tf.Tensor` and `keras.Model` are Any.
"""

import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

#: float32 images [B, H, W, C] in [0, 1] -> float32 logits [B, num_classes].
Logits = Callable[[tf.Tensor], tf.Tensor]

#: (H, W, C) of an image; None for any size.
ImageShape = Sequence[int | None]

#: Anything that `np.asarray` accepts: an array, a tensor, or nested lists of numbers.
Array = np.ndarray | tf.Tensor | Sequence

#: (low, high) of a confidence interval.
Interval = tuple[float, float]

#: Path of a file or folder.
PathLike = str | os.PathLike[str]
