"""The library's remedies, which name arguments of Python, as the flags of a command line."""

import ast
import contextlib
import re
import shlex
from collections.abc import Iterator

from absl import flags

from agkd_tf.errors import InputError

# Arguments of `agkd_tf.adapt` and the flags that give them; `output` is no flag, and a flag of that name is another.
ADAPT = {"pixel_range": "pixel_range", "mean": "pixel_mean", "std": "pixel_std", "channels": "channels"}


def with_flags(message: str, flag_values: flags.FlagValues = flags.FLAGS) -> str:
    """Returns a message whose remedies in Python's form are flags.

    In backticks, `name=literal` becomes `--name=literal` as a command line spells it: `(0, 255)` is 0,255, True is
    --name and False is --noname. So do several with commas between them, the arguments of
    `agkd_tf.adapt(model, ...)`, and `layer_names={'logits': ...}`. A word in capitals, such as PATH, stands for any
    value. What is no flag of the program, or no literal, stays as it is, with its backticks.

    Args:
        message: text.
        flag_values: the program's flags.
    """
    return re.sub(r"`([^`]+)`", lambda found: _as_flags(found[1], flag_values) or found[0], message)


@contextlib.contextmanager
def named_by_flags(**names: str) -> Iterator[None]:
    """In the block, an `InputError` that names an argument names the flag that gives it.

    Args:
        **names: argument -> flag, where they have different names.
    """
    try:
        yield
    except InputError as error:
        pattern = f"`({'|'.join(names)})(?=[`=])"
        raise InputError(re.sub(pattern, lambda found: f"`{names[found[1]]}", str(error))) from error


def _as_flags(code: str, flag_values: flags.FlagValues) -> str | None:
    """Returns the arguments that code gives as flags, or None if it gives none or one that is no flag."""
    try:
        return " ".join(_flag(flag_values, name, value) for name, value in _arguments(code)) or None
    except (KeyError, SyntaxError, ValueError):
        return None


def _arguments(code: str) -> list[tuple[str, ast.expr]]:
    """Returns (flag's name, value) of the arguments of a call of `adapt`, or of arguments alone.

    Raises:
        KeyError: for an argument of `adapt` that no flag gives.
        SyntaxError: for code that is neither.
    """
    call = re.fullmatch(r"(?:agkd_tf\.)?adapt\((.*)\)", code)
    parsed = ast.parse(f"_({call[1] if call else code})", mode="eval").body
    if not isinstance(parsed, ast.Call) or (parsed.args and not call):
        raise SyntaxError(code)
    of_source = any(isinstance(each, ast.Name) and each.id == "source" for each in parsed.args)
    prefix = "source_" if of_source else ""  # the network of a transfer, whose flags are called so
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
    """Returns `--name=value` as the flag takes it.

    Raises:
        KeyError: if there is no such flag.
        ValueError: for a value that is no literal.
    """
    flag = flag_values[name]
    if isinstance(value, ast.Constant) and isinstance(value.value, bool):
        if flag.boolean:
            return f"--{name}" if value.value else f"--no{name}"
        return f"--{name}={'on' if value.value else 'off'}"
    return f"--{name}={_spelled(value)}"


def _spelled(value: ast.expr) -> str:
    """Returns a literal as a command line spells it: a text without quotes unless a shell needs them, 8/255, 0,255.

    Raises:
        ValueError: for what is no number, text, list of them, or word in capitals.
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
