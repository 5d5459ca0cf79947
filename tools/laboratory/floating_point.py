"""Counts the floating-point operations of convolutions and matrix products: those that a step does, and the minimum."""

import math
import re
from collections.abc import Callable

import keras

from agkd_tf.errors import InputError
from agkd_tf.models.forward_pass import forward_flops

_INSTRUCTION = re.compile(
    r"^\s*(?P<root>ROOT )?%?(?P<name>[\w.-]+) = (?P<type>\(.*?\)|\S+) (?P<opcode>[\w-]+)\((?P<rest>.*)$"
)
_COMPUTATION = re.compile(r"^(?P<entry>ENTRY )?%?(?P<name>[\w.-]+)[ (].*{$")
_NAME = re.compile(r"%([\w.-]+)")

Instruction = re.Match[str]
Computation = dict[str, Instruction]


def program_flops(hlo: str) -> int:
    """Returns the floating-point operations of an XLA program's convolutions and matrix products.

    A multiplication and an addition count as two operations. Instructions that the result does not depend on are not
    counted, and neither are products with the zeros that fill the gradient of a strided convolution.

    Args:
        hlo: the program's text (see `step_program`), its loops unrolled.

    Raises:
        InputError: if the program convolves or multiplies matrices in a loop, whose number of iterations is not known.
    """
    computations, entry = _parse(hlo)

    def count(name: str) -> int:
        return sum(_flops(instruction, computations[name], count) for instruction in _live(computations[name]))

    return count(entry)


def minimum_flops(model: keras.Model, *, attack_steps: int, batch_size: int = 1) -> int:
    """Returns the fewest floating-point operations that a step of AGKD-BML needs if teacher and student are alike.

    A forward pass takes F operations per image. The gradients by its input and by its weights take F more each. For B
    images, a step takes F * B to find the confusing classes, (F + F) * 2B for each step of the attack, F * 2B for the
    teacher and (F + F + F) * 3B for the student, less the gradient by the images, which the student's training does
    not need.

    Args:
        model: a Keras model; see `forward_flops`.
        attack_steps: steps of the training attack.
        batch_size: B.
    """
    layers = [flops for _, flops in forward_flops(model)]
    forward = sum(layers)
    return batch_size * (forward * (1 + 4 * attack_steps + 2 + 9) - 3 * layers[0])


def _parse(hlo: str) -> tuple[dict[str, Computation], str]:
    """Returns (computations, name of the entry computation); each is a dict of name -> matched instruction."""
    computations: dict[str, Computation] = {}
    entry: str | None = None
    current: Computation | None = None
    for line in hlo.splitlines():
        heading = _COMPUTATION.match(line)
        if heading:
            current = computations[heading["name"]] = {}
            entry = heading["name"] if heading["entry"] else entry
        elif current is not None and (instruction := _INSTRUCTION.match(line)):
            current[instruction["name"]] = instruction
    if entry is None:
        raise InputError("the program's text has no ENTRY computation: it is not HLO")
    return computations, entry


def _live(computation: Computation) -> list[Instruction]:
    """Returns the instructions that the computation's result depends on."""
    waiting = [name for name, instruction in computation.items() if instruction["root"]]
    seen = set(waiting)
    while waiting:
        for name in _NAME.findall(computation[waiting.pop()]["rest"]):
            if name in computation and name not in seen:
                seen.add(name)
                waiting.append(name)
    return [computation[name] for name in seen]


def _flops(instruction: Instruction, computation: Computation, count: Callable[[str], int]) -> int:
    opcode, rest = instruction["opcode"], instruction["rest"]
    if opcode == "convolution":
        return _convolution_flops(instruction, computation)
    if opcode == "dot":
        contracted = [int(axis) for axis in _part(r"lhs_contracting_dims={([\d,]*)}", rest).split(",") if axis]
        left = _operand_shapes(rest, computation)[0]
        return 2 * math.prod(_shape(instruction["type"])) * math.prod(left[axis] for axis in contracted)
    called = re.findall(r"(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.-]+)", rest)
    called += [name for names in re.findall(r"branch_computations={([^}]*)}", rest) for name in _NAME.findall(names)]
    found = sum(count(name) for name in called)
    if found and opcode == "while":
        raise InputError("the program convolves or multiplies matrices in a loop: its operations cannot be counted")
    return found


def _convolution_flops(instruction: Instruction, computation: Computation) -> int:
    rest = instruction["rest"]
    left, kernel = _operand_shapes(rest, computation)[:2]
    dilated = re.search(r"window={[^}]*lhs_dilate", rest) is not None
    left_labels, output_labels = _part(r"dim_labels=(\w+)_\w+->", rest), _part(r"dim_labels=\w+->(\w+)", rest)
    output = _shape(instruction["type"])
    # A dilated input has zeros between its entries: only its own entries are multiplied.
    places, labels = (left, left_labels) if dilated else (output, output_labels)
    spatial = math.prod(size for size, label in zip(places, labels, strict=True) if label.isdigit())
    # The kernel's shape already has the input features per group.
    return 2 * output[output_labels.index("b")] * spatial * math.prod(kernel)


def _operand_shapes(rest: str, computation: Computation) -> list[list[int]]:
    operands = rest.split("), ")[0]
    return [_shape(computation[name]["type"]) for name in _NAME.findall(operands)]


def _part(pattern: str, text: str) -> str:
    """Returns what the group of a pattern matches in an instruction.

    Raises:
        InputError: if nothing matches, since the instruction is not written the way XLA writes it.
    """
    found = re.search(pattern, text)
    if found is None:
        raise InputError(f"an instruction of the program cannot be read: it has no {pattern}. Received: {text[:200]}")
    return found[1]


def _shape(text: str) -> list[int]:
    return [int(size) for size in _part(r"\[([\d,]*)\]", text).split(",") if size]
