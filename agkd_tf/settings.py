"""Settings: arguments whose annotations state their allowed values and their help text.

    def __init__(self, student, *, margin: Annotated[float, Range(0.0), "Margin of the triplet."] = 0.03): ...

An argument is a setting if its annotation contains a text. The text is its help; `Range`, `Size`, `Choice` and
`Literal` state what is allowed. The settings of a class are checked when it is called (see `checked`), kept as
attributes, written to its config, and turned into command-line flags.
"""

import dataclasses
import functools
import inspect
import math
import numbers
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

import numpy as np

from agkd_tf.errors import InputError, check_choice, check_eps, check_range
from agkd_tf.perturbation_size import format_size, parse_size

LARGEST = 2**31 - 1  # the largest int32


@dataclasses.dataclass(frozen=True)
class Range:
    """The smallest and largest allowed value; both are included, except for `low` with `low_open`."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False


@dataclasses.dataclass(frozen=True)
class Size:
    """A perturbation size in units of images in [0, 1], written as 8/255.

    Attributes:
        bounded: whether sizes above 1 are refused, as for an l_inf ball.
    """

    bounded: bool = True


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of several names."""

    allowed: Iterable[str]


Pixels = Annotated[float, Size()]
Radius = Annotated[float, Size(bounded=False)]
Weight = Annotated[float, Range(0.0)]
Share = Annotated[float, Range(0.0, 1.0)]
Count = Annotated[int, Range(1, LARGEST)]


@dataclasses.dataclass(frozen=True)
class Setting:
    """Describes one setting.

    Attributes:
        name: name of the argument.
        kind: bool, int, float or str; for a tuple, the type of its entries.
        help: one sentence on what it does.
        default: its default, or `inspect.Parameter.empty`.
        optional: whether None is allowed.
        many: whether it is a tuple of any length.
        rules: the `Range`s, `Size`s and `Choice`s of its annotation.
    """

    name: str
    kind: type
    help: str
    default: Any
    optional: bool
    many: bool
    rules: tuple[Range | Size | Choice, ...]

    @property
    def choices(self) -> list[str] | None:
        """The allowed names, or None if the setting is not a choice."""
        return next((list(rule.allowed) for rule in self.rules if isinstance(rule, Choice)), None)

    @property
    def range(self) -> Range | None:
        """The allowed `Range`, or None."""
        return next((rule for rule in self.rules if isinstance(rule, Range)), None)

    @property
    def size(self) -> Size | None:
        """The `Size` rule, or None if the setting is not a perturbation size."""
        return next((rule for rule in self.rules if isinstance(rule, Size)), None)

    def check(self, value: Any) -> Any:
        """Checks a value and returns it; a NumPy scalar becomes a Python number, a list becomes a tuple.

        Raises:
            InputError: if the value is not allowed.
        """
        if value is None and self.optional:
            return None
        if self.many:
            if isinstance(value, str) or not isinstance(value, Iterable):
                raise InputError(f"`{self.name}` must be a list of {_PLURALS[self.kind]}. Received: {value!r}")
            return tuple(self._check_one(each) for each in value)
        return self._check_one(value)

    def _check_one(self, value: Any) -> Any:
        if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
            value = value.item()
        if not _is_a(value, self.kind):
            raise InputError(f"`{self.name}` must be {_WORDS[self.kind]}. Received: {value!r}")
        if self.kind is float and not math.isfinite(value):
            raise InputError(f"`{self.name}` must be a finite number. Received: {value}")
        for rule in self.rules:
            match rule:
                case Range(low, high, low_open):
                    check_range(self.name, value, low, high, low_open=low_open)
                case Size(bounded=True):
                    check_eps(self.name, value)
                case Size():
                    check_range(self.name, value, 0.0)
                case Choice(allowed):
                    check_choice(self.name, value, list(allowed))
        return value

    def parse(self, text: str) -> Any:
        """Parses a value from a flag's text; entries of a list are separated by commas.

        Raises:
            InputError: if the text is not an allowed value.
        """
        if self.many:
            return self.check([self._parse_one(each) for each in text.split(",") if each])
        return self.check(self._parse_one(text))

    def _parse_one(self, text: str) -> Any:
        try:
            if self.size is not None:
                return parse_size(text)
            if self.kind is bool:
                return _SWITCHES[text.lower()]
            return self.kind(text)
        except ValueError as error:
            reason = error if self.size is not None else f"must be {_WORDS[self.kind]}"
            raise InputError(f"`{self.name}` {reason}. Received: {text!r}") from error
        except KeyError:
            raise InputError(f"`{self.name}` must be true or false. Received: {text!r}") from None

    def format(self, value: Any) -> str:
        """Returns a value as the text that `parse` reads."""
        if self.many:
            return ",".join(f"{each:.12g}" if isinstance(each, numbers.Number) else str(each) for each in value)
        return format_size(value) if self.size is not None else str(value)


_WORDS = {bool: "True or False", int: "an integer", float: "a number", str: "a text"}
_PLURALS = {bool: "True or False", int: "integers", float: "numbers", str: "texts"}
_SWITCHES = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


def _is_a(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def settings_of(owner: Callable) -> Mapping[str, Setting]:
    """Returns name -> `Setting` for a function, a dataclass, or a class's constructor.

    A class also has the settings of its bases. If it only changes the default of a base's argument, it need not repeat
    the annotation.

    Args:
        owner: the function or class.
    """
    return _settings_of(owner)


@functools.cache
def _settings_of(owner: Any) -> Mapping[str, Setting]:
    levels = owner.__mro__ if isinstance(owner, type) else [owner]
    if dataclasses.is_dataclass(owner):
        levels = [owner]
    found: dict[str, Setting] = {}
    defaults: dict[str, Any] = {}
    for level in levels:
        function = level.__dict__.get("__init__") if isinstance(level, type) else level
        if function is None or not getattr(function, "__annotations__", None):
            continue
        hints = typing.get_type_hints(level if dataclasses.is_dataclass(level) else function, include_extras=True)
        for name, parameter in inspect.signature(function).parameters.items():
            default = defaults.setdefault(name, parameter.default)
            setting = _setting(name, hints.get(name), default)
            if setting is not None:
                found.setdefault(name, setting)
    return types.MappingProxyType(found)


def _setting(name: str, hint: Any, default: Any) -> Setting | None:
    notes: list[Any] = []
    optional = many = False
    while True:
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin is Annotated:
            hint, notes = hint.__origin__, [*notes, *hint.__metadata__]
        elif origin in (typing.Union, types.UnionType):
            others = [each for each in arguments if each is not types.NoneType]
            optional = len(others) < len(arguments)
            if len(others) > 1:
                break
            hint = others[0]
        elif origin is tuple:
            hint, many = arguments[0], True
        elif origin is typing.Literal:
            hint, notes = type(arguments[0]), [*notes, Choice(arguments)]
        else:
            break
    text = next((note for note in notes if isinstance(note, str)), None)
    if text is None:
        return None
    if hint not in _WORDS:
        raise TypeError(
            f"a setting must be bool, int, float or str, or a tuple of one of these, or None. Received: {name}: {hint}"
        )
    rules = tuple(note for note in notes if isinstance(note, Range | Size | Choice))
    return Setting(name, hint, text, default, optional, many, rules)


def check_settings(owner: Callable, values: Mapping[str, Any]) -> dict[str, Any]:
    """Checks the values that are settings of `owner`; returns all values, name -> value.

    Raises:
        InputError: for a value that is not allowed.
    """
    known = settings_of(owner)
    return {name: known[name].check(value) if name in known else value for name, value in values.items()}


def checked(init: Callable) -> Callable:
    """Wraps a constructor: checks its settings, and stores those as attributes that it does not store itself."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        settings = settings_of(type(self))
        own = {name: settings[name] for name in signature.parameters if name in settings}
        given = signature.bind(self, *args, **kwargs)
        for name in own.keys() & given.arguments.keys():
            given.arguments[name] = own[name].check(given.arguments[name])
        init(*given.args, **given.kwargs)
        for name in own:
            if name not in vars(self):
                setattr(self, name, given.arguments.get(name, signature.parameters[name].default))

    return construct


def describe(settings: Iterable[Setting]) -> str:
    """Returns one line per setting: its help, what is allowed, and its default."""
    return "\n".join(f"{setting.name}: {_described(setting)}" for setting in settings)


def _described(setting: Setting) -> str:
    allowed = ""
    if setting.choices is not None:
        allowed = f" One of {', '.join(setting.choices)}."
    elif setting.range is not None:
        low, high = setting.range.low, setting.range.high
        edges = [] if low == -math.inf else [f"{'more than' if setting.range.low_open else 'at least'} {low:g}"]
        edges += [] if high in (math.inf, LARGEST) else [f"at most {high:g}"]
        allowed = f" {' and '.join(edges).capitalize()}." if edges else ""
    if setting.default in (inspect.Parameter.empty, None):
        return f"{setting.help}{allowed}"
    shown = setting.default if setting.kind is bool or setting.many else setting.format(setting.default)
    return f"{setting.help}{allowed} Default: {shown}."
