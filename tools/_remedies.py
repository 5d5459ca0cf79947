"""Translates remedies in the library's messages from Python arguments to command-line flags."""

import ast
import contextlib
import re
import shlex
from collections.abc import Iterator

from absl import flags

from agkd_tf.errors import InputError

# Arguments of `agkd_tf.adapt` and their flags; its `output` has no flag: the flag of that name is something else.
ADAPT = {"pixel_range": "pixel_range", "mean": "pixel_mean", "std": "pixel_std", "channels": "channels"}


def with_flags(message: str, flag_values: flags.FlagValues = flags.FLAGS) -> str:
    """Returns a message with its remedies in Python replaced by flags.

    In backticks, `name=literal` becomes `--name=literal` in the spelling of a command line: `(0, 255)` becomes 0,255,
    True becomes --name and False becomes --noname. The same applies to several such arguments separated by commas, to
    the arguments of `agkd_tf.adapt(model, ...)`, and to `layer_names={'logits': ...}`. A word in capitals, such as
    PATH, stands for any value. Anything that is not a flag of the program, or not a literal, stays as it is, with its
    backticks.

    Args:
        message: the message.
        flag_values: the program's flags.
    """
    return re.sub(r"`([^`]+)`", lambda found: _as_flags(found[1], flag_values) or found[0], message)


@contextlib.contextmanager
def named_by_flags(**names: str) -> Iterator[None]:
    """Renames arguments to flags in the message of an `InputError` that is raised in the block.

    Args:
        **names: argument -> flag, for flags that have another name than their argument.
    """
    try:
        yield
    except InputError as error:
        pattern = f"`({'|'.join(names)})(?=[`=])"
        raise InputError(re.sub(pattern, lambda found: f"`{names[found[1]]}", str(error))) from error


def _as_flags(code: str, flag_values: flags.FlagValues) -> str | None:
    """Returns the arguments in `code` as flags; None if there are none, or one of them is not a flag."""
    try:
        return " ".join(_flag(flag_values, name, value) for name, value in _arguments(code)) or None
    except (KeyError, SyntaxError, ValueError):
        return None


def _arguments(code: str) -> list[tuple[str, ast.expr]]:
    """Returns (flag's name, value) for each argument in a call of `adapt`, or in a list of arguments.

    Raises:
        KeyError: for an argument of `adapt` without a flag.
        SyntaxError: for code that is neither.
    """
    call = re.fullmatch(r"(?:agkd_tf\.)?adapt\((.*)\)", code)
    parsed = ast.parse(f"_({call[1] if call else code})", mode="eval").body
    if not isinstance(parsed, ast.Call) or (parsed.args and not call):
        raise SyntaxError(code)
    of_source = any(isinstance(each, ast.Name) and each.id == "source" for each in parsed.args)
    prefix = "source_" if of_source else ""  # prefix of the flags for the source of a transfer attack
    arguments: list[tuple[str, ast.expr]] = []
    for keyword in parsed.keywords:
        if keyword.arg == "layer_names" and isinstance(keyword.value, ast.Dict):
            arguments += [
                (f"{ast.literal_eval(part)}_layer", name)
                for part, name in zip(keyword.value.keys, keyword.value.values, strict=True)
                if part is not None
            ]
        else:
            name = str(keyword.arg)
            arguments.append((prefix + ADAPT[name] if call else name, keyword.value))
    return arguments


def _flag(flag_values: flags.FlagValues, name: str, value: ast.expr) -> str:
    """Returns `--name=value` in the form that the flag accepts.

    Raises:
        KeyError: if there is no such flag.
        ValueError: for a value that is not a literal.
    """
    flag = flag_values[name]
    if isinstance(value, ast.Constant) and isinstance(value.value, bool):
        if flag.boolean:
            return f"--{name}" if value.value else f"--no{name}"
        return f"--{name}={'on' if value.value else 'off'}"
    return f"--{name}={_spelled(value)}"


def _spelled(value: ast.expr) -> str:
    """Returns a literal in the spelling of a command line, such as 8/255 or 0,255; text is quoted only for the shell.

    Raises:
        ValueError: if it is not a number, a text, a list of these, or a word in capitals.
    """
    if isinstance(value, ast.Tuple | ast.List):
        return ",".join(map(_spelled, value.elts))
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return shlex.quote(value.value)
    if isinstance(value, ast.Name) and value.id.isupper():
        return value.id
    number = ast.unparse(value).replace(" ", "")
    if not re.fullmatch(r"-?[\d.]+(?:e-?\d+)?(?:/\d+)?", number):
        raise ValueError(number)
    return number
