"""The entry that all tools share: a user's mistake is one line and exit code 2."""

import sys

from absl import app, flags, logging

from agkd_tf.errors import InputError


def run(main):
    """Runs `main(argv)` under absl; bad flags and `InputError` end in one line and exit code 2."""
    logging.set_verbosity(logging.WARNING)
    app.run(lambda argv: _call(main, argv), flags_parser=_parse)


def fail(message):
    """Ends the program with one line on standard error and exit code 2."""
    print(f"error: {' '.join(str(message).split())}", file=sys.stderr)
    sys.exit(2)


def _parse(argv):
    try:
        rest = flags.FLAGS(argv)
    except flags.Error as error:
        fail(str(error).removeprefix("ERROR:: "))
    if len(rest) > 1:
        fail(f"only flags are taken, as --name=value. Received: {' '.join(rest[1:])}")
    return rest


def _call(main, argv):
    try:
        return main(argv)
    except InputError as error:
        fail(error)
