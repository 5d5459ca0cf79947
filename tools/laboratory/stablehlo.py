"""Functions as StableHLO: programs that XLA compiles on any machine, whether TensorFlow is there or not."""

import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import tensorflow as tf

from agkd_tf.errors import InputError

Platform = Literal["CPU", "GPU", "TPU"]
TYPE = re.compile(r"tensor<([^>]*)>")
CUSTOM_CALL = re.compile(r"\b(?:stablehlo|mhlo|chlo)\.custom_call @([\w.]+)")
OPERATION = re.compile(r'= "?([a-z_]+)\.[a-z_]+')
DIALECTS = {"stablehlo", "func"}
# A whole number, and a size that an axis is given.
NUMBER = re.compile(r"(%\w+) = stablehlo.constant dense<(\d+)> : tensor<i32>")
# Where in whose files an operation was made, and names with counters: neither belongs to the program.
PLACES = re.compile(r'^#loc.*\n| loc\((?:[^()"]|"[^"]*"|\((?:[^()"]|"[^"]*")*\))*\)', re.MULTILINE)
MODULE = re.compile(r"^module @\S+", re.MULTILINE)
FUNCTION = re.compile(r"func\.func private (@[\w.$-]+)\(")
SYMBOL = re.compile(r"@[\w.$-]+")
SIZED = re.compile(r"stablehlo.set_dimension_size %\w+, (%\w+), dim = (\d+) : \(tensor<([\dx]+)x\w+>")


class StableHLO(NamedTuple):
    """A program.

    Attributes:
        text: its StableHLO; the arguments of its main function are those of the signature, in order, and then the
            constants.
        constants: arrays that the function refers to.
    """

    text: str
    constants: list[np.ndarray]


def lowered(
    function: Callable[..., Sequence[tf.Tensor]], signature: Sequence[tf.TensorSpec], *, platform: Platform = "GPU"
) -> StableHLO:
    """Returns what a function is for XLA on a platform, which need not be there.

    Args:
        function: callable, tensors -> a flat list of tensors; without variables of its own (see
            `agkd_tf.defenses.pure_step`).
        signature: of its arguments, of fixed shapes.
        platform: kind of device.

    Raises:
        InputError: if it refers to variables, its shapes are not fixed, or XLA would call something outside itself.
    """
    compiled = tf.function(function, jit_compile=True, autograph=False)
    captured = compiled.get_concrete_function(*signature).captured_inputs
    if any(tensor.dtype == tf.resource for tensor in captured):
        raise InputError("a portable program has no variables, this function reads or writes some of its own")
    text = compiled.experimental_get_compiler_ir(*signature)(stage="stablehlo", platform_name=platform)
    text = _plain(text)
    check_portable(text)
    return StableHLO(text, [tensor.numpy() for tensor in captured])


def _plain(text: str) -> str:
    """Returns a program without what differs from one export of it to the next."""
    text = MODULE.sub("module @program", PLACES.sub("", text))
    names = {name: f"@function_{number}" for number, name in enumerate(FUNCTION.findall(text))}
    return SYMBOL.sub(lambda symbol: names.get(symbol[0], symbol[0]), text)


def check_portable(text: str) -> None:
    """Checks that any XLA of the platform can compile a program.

    Raises:
        InputError: if it calls what only one library has, is of another dialect, or has shapes that are not fixed.
    """
    calls = sorted(set(CUSTOM_CALL.findall(text)))
    if calls:
        raise InputError(f"a portable program makes no custom calls. Received: {', '.join(calls)}")
    dialects = sorted(set(OPERATION.findall(text)) - DIALECTS)
    if dialects:
        raise InputError(f"a portable program is StableHLO alone. Received: operations of {', '.join(dialects)}")
    if any("?" in found for found in TYPE.findall(text)) or not _sizes_are_fixed(text):
        raise InputError("a portable program has fixed shapes alone. Received: one with shapes that a run decides")


def _sizes_are_fixed(text: str) -> bool:
    """Returns whether each axis that is given a size has that size by its type, as those of a `top_k` have."""
    numbers = {}
    for line in text.splitlines():  # names are given anew in each function, before they are used
        number = NUMBER.search(line)
        if number:
            numbers[number[1]] = int(number[2])
        elif "stablehlo.set_dimension_size" in line:
            found = SIZED.search(line)
            if not found or numbers.get(found[1]) != int(found[3].split("x")[int(found[2])]):
                return False
    return True
