"""Types that many rooms share.

TensorFlow and Keras bring no types: to a type checker `tf.Tensor` and `keras.Model` are Any.
"""

import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

#: float32 images [B, H, W, C] in [0, 1] -> float32 logits [B, num_classes].
Logits = Callable[[tf.Tensor], tf.Tensor]

#: (H, W, C) of an image; None for any size.
ImageShape = Sequence[int | None]

#: What NumPy makes an array of without a copy of its meaning: an array, a tensor, or lists of numbers.
Array = np.ndarray | tf.Tensor | Sequence

#: (low, high) of a confidence interval.
Interval = tuple[float, float]

#: Path of a file or folder.
PathLike = str | os.PathLike[str]
