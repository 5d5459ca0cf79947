"""Times a large matrix product: its rate is the best that this machine can do."""

import time

import tensorflow as tf

SIZE = 4096


class MatrixProduct:
    """A product of two square matrices, ready to run.

    Args:
        dtype: the dtype of the matrices, a name such as "bfloat16".
        size: number of rows and of columns.
    """

    def __init__(self, dtype: str, size: int = SIZE) -> None:
        self._dtype, self._size = dtype, size
        left, right = (tf.cast(tf.random.stateless_normal([size, size], [0, each]), dtype) for each in range(2))
        self._product = tf.function(lambda: tf.reduce_sum(tf.cast(tf.matmul(left, right)[:1, :1], tf.float32)))
        (self._first,) = self.run(1)

    def run(self, steps: int) -> list[float]:
        """Returns the seconds of each of `steps` products."""
        seconds = []
        for _ in range(steps):
            begin = time.perf_counter()
            self._product().numpy()
            seconds.append(time.perf_counter() - begin)
        return seconds

    def facts(self) -> dict[str, str | int | float]:
        """Returns, for JSON, the dtype, the floating-point operations per product, and the first product's seconds."""
        return {"dtype": self._dtype, "flops": 2 * self._size**3, "first_step_seconds": self._first}
