"""Lowers functions to StableHLO: programs that XLA compiles on any machine, with or without TensorFlow."""

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
# An integer constant; `SIZED` finds the axes that are set to such a size.
NUMBER = re.compile(r"(%\w+) = stablehlo.constant dense<(\d+)> : tensor<i32>")
# Source locations, and names with counters: neither belongs to the program.
PLACES = re.compile(r'^#loc.*\n| loc\((?:[^()"]|"[^"]*"|\((?:[^()"]|"[^"]*")*\))*\)', re.MULTILINE)
MODULE = re.compile(r"^module @\S+", re.MULTILINE)
FUNCTION = re.compile(r"func\.func private (@[\w.$-]+)\(")
SYMBOL = re.compile(r"@[\w.$-]+")
SIZED = re.compile(r"stablehlo.set_dimension_size %\w+, (%\w+), dim = (\d+) : \(tensor<([\dx]+)x\w+>")


class StableHLO(NamedTuple):
    """A program, with the constants that it takes.

    Attributes:
        text: the program as StableHLO. Its main function takes the arguments of the signature, in order, and then the
            constants.
        constants: arrays that the function refers to.
    """

    text: str
    constants: list[np.ndarray]


def lowered(
    function: Callable[..., Sequence[tf.Tensor]], signature: Sequence[tf.TensorSpec], *, platform: Platform = "GPU"
) -> StableHLO:
    """Returns a function as an XLA program for a platform, which this machine need not have.

    Args:
        function: callable, tensors -> a flat list of tensors; without variables of its own (see
            `agkd_tf.defenses.pure_step`).
        signature: specs of its arguments, with fixed shapes.
        platform: kind of device.

    Raises:
        InputError: if it uses variables, its shapes are not fixed, or it would call something outside XLA.
    """
    compiled = tf.function(function, jit_compile=True, autograph=False)
    captured = compiled.get_concrete_function(*signature).captured_inputs
    if any(tensor.dtype == tf.resource for tensor in captured):
        raise InputError(
            "a portable program must have no variables. Received: a function that reads or writes some of its own"
        )
    text = compiled.experimental_get_compiler_ir(*signature)(stage="stablehlo", platform_name=platform)
    text = _plain(text)
    check_portable(text)
    return StableHLO(text, [tensor.numpy() for tensor in captured])


def _plain(text: str) -> str:
    """Returns the text of a program without what differs between two exports of it."""
    text = MODULE.sub("module @program", PLACES.sub("", text))
    names = {name: f"@function_{number}" for number, name in enumerate(FUNCTION.findall(text))}
    return SYMBOL.sub(lambda symbol: names.get(symbol[0], symbol[0]), text)


def check_portable(text: str) -> None:
    """Checks that any XLA of the platform can compile a program.

    Raises:
        InputError: if it calls a function that only some library has, uses another dialect, or has shapes that are not
            fixed.
    """
    calls = sorted(set(CUSTOM_CALL.findall(text)))
    if calls:
        raise InputError(f"a portable program must make no custom calls. Received: {', '.join(calls)}")
    dialects = sorted(set(OPERATION.findall(text)) - DIALECTS)
    if dialects:
        raise InputError(f"a portable program must use only StableHLO. Received: operations of {', '.join(dialects)}")
    if any("?" in found for found in TYPE.findall(text)) or not _sizes_are_fixed(text):
        raise InputError("a portable program must have fixed shapes. Received: one whose shapes depend on values")


def _sizes_are_fixed(text: str) -> bool:
    """Returns whether each axis whose size is set has that size in its type, as the axes of a `top_k` do."""
    numbers = {}
    for line in text.splitlines():  # each function defines its names anew, before it uses them
        number = NUMBER.search(line)
        if number:
            numbers[number[1]] = int(number[2])
        elif "stablehlo.set_dimension_size" in line:
            found = SIZED.search(line)
            if not found or numbers.get(found[1]) != int(found[3].split("x")[int(found[2])]):
                return False
    return True
