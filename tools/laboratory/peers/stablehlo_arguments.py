"""Arguments for a training step in StableHLO that says their types and nothing else, for `time_stablehlo.py`.

Needs numpy, and ml_dtypes, which comes with JAX.
"""

import math
import re

import ml_dtypes
import numpy as np

TYPES = {f"{kind}{bits}": f"{name}{bits}" for kind, name in (("i", "int"), ("ui", "uint")) for bits in (8, 16, 32, 64)}
TYPES |= {"i1": "bool", "f16": "float16", "f32": "float32", "f64": "float64", "bf16": ml_dtypes.bfloat16}


def main_types(program):
    """Returns (shape, dtype) of each argument of a program's `main`.

    Args:
        program: StableHLO as text.

    Raises:
        ValueError: if there is no `main`, or an argument has no fixed shape or no type of numbers.
    """
    heading = re.search(r"func\.func (?:public )?@main\((.*?)\) -> ", program)
    if heading is None:
        raise ValueError("the program has no function `main` with results: it is not StableHLO")
    return [_type(text) for text in re.findall(r"%[\w.]+: tensor<([^>]*)>", heading[1])]


def _type(text):
    *sizes, name = text.split("x")
    if name not in TYPES or not all(size.isdecimal() for size in sizes):
        raise ValueError(f"an argument's type must be of fixed size and of numbers. Received: tensor<{text}>")
    return tuple(map(int, sizes)), np.dtype(TYPES[name])


def random_argument(shape, dtype, batch_size, generator):
    """Returns an array that a step can compute with: nothing overflows, and no root is of a negative number.

    Args:
        shape: its shape.
        dtype: its `numpy.dtype`.
        batch_size: images a step: what has so many rows of pixels is images.
        generator: `numpy.random.Generator`.
    """
    if dtype.kind == "b":
        return generator.random(shape) < 0.5
    if dtype.kind in "iu":
        return generator.integers(*_range(shape, dtype), shape, dtype, endpoint=True)
    if len(shape) < 2:  # scales and variances among them, which are positive
        return generator.uniform(0.5, 1.5, shape).astype(dtype)
    if len(shape) > 2 and shape[0] == batch_size:
        return generator.random(shape).astype(dtype)
    return (generator.standard_normal(shape) / math.sqrt(math.prod(shape[:-1]))).astype(dtype)  # kernels


def _range(shape, dtype):
    """Returns the least and the greatest of integers."""
    limits = np.iinfo(dtype)
    if dtype == np.uint8 or (dtype == np.int64 and len(shape) > 1):  # pixels, or eight of them
        return limits.min, limits.max
    # Labels, seeds, and how many images of a class there are, and from which on: places that any table has. Not 0,
    # which a draw would be the remainder of.
    return 1, 9
