"""The entry point that all tools share: a user's mistake ends in one line and exit code 2."""

import functools
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn, TextIO

import tensorflow as tf
from absl import app, flags, logging

from agkd_tf.errors import InputError, Note
from tools._help import help_text
from tools._remedies import with_flags

INTERRUPTED = 75  # exit code of sysexits.h: a failure that is over when the same is tried again


def run(main: Callable[[list[str]], None], commands: Sequence[str] = (), words: bool = False) -> None:
    """Runs `main(argv)` under absl; bad flags and `InputError` end in one line and exit code 2.

    Args:
        main: callable that takes argv without the flags.
        commands: words of which the first argument, `argv[1]`, must be one; empty if there are no commands.
        words: whether further words may follow; without `commands` and `words`, only flags are allowed.
    """
    logging.set_verbosity(logging.WARNING)
    warnings.showwarning = functools.partial(_show_warning, set())
    app.run(lambda argv: call(main, argv), flags_parser=lambda argv: _parse(argv, commands, words))


def note(message: Warning | str) -> None:
    """Prints a message on standard error as one line that begins with `note: `."""
    print(f"note: {' '.join(with_flags(str(message)).split())}", file=sys.stderr, flush=True)


def _show_warning(
    shown: set[str],
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Replaces `warnings.showwarning`; prints the library's own warnings as notes.

    Each note is printed once, although each attack may warn of the same; `shown` holds those that were printed.
    """
    if issubclass(category, Note):
        if str(message) not in shown:
            shown.add(str(message))
            note(message)
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), end="", file=file or sys.stderr)


def fail(message: Exception | str) -> NoReturn:
    """Ends the program with one line on standard error and exit code 2."""
    print(f"error: {' '.join(with_flags(str(message)).split())}", file=sys.stderr)
    sys.exit(2)


def _parse(argv: list[str], commands: Sequence[str], words: bool) -> list[str]:
    for each in argv:
        if not each.isprintable():  # including bytes of another encoding, which could not be written to a file
            fail(f"arguments must be printable text in UTF-8. Received: {each!r}")
    text = help_text(argv)
    if text is not None:
        print(text)
        sys.exit(1)  # as absl does
    try:
        rest = flags.FLAGS(argv)
    except flags.Error as error:
        fail(str(error).removeprefix("ERROR:: "))
    except UnicodeDecodeError as error:
        fail(f"`flagfile` cannot be read: {error}")
    if commands and (len(rest) < 2 or rest[1] not in commands):
        received = rest[1] if len(rest) > 1 else "nothing"
        fail(f"the first word must be one of {', '.join(commands)}. Received: {received}")
    stray = rest[2:] if commands else rest[1:]
    if stray and not words:
        fail(f"only flags are allowed, as --name=value. Received: {' '.join(stray)}")
    return rest


def call(main: Callable[[list[str]], None], argv: list[str]) -> None:
    """Calls `main(argv)`; an `InputError`, or an error of a disk or file, ends in one line and exit code 2."""
    try:
        main(argv)
    except InputError as error:
        fail(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)  # the shells' code for an interrupt
    except OSError as error:  # a path that is missing, exists already, or is not writable
        fail(f"{error.filename}: {error.strerror}" if error.filename else error)
    except tf.errors.PermissionDeniedError as error:  # the same, raised by TensorFlow
        fail(error.message)
    except tf.errors.ResourceExhaustedError as error:  # a full disk, raised by TensorFlow; out of memory is re-raised
        full = re.search(r"(?:}} |^)(/.*); (No space left on device)", str(error))
        if not full:
            raise
        fail(f"{full[1]}: {full[2]}")
