"""The time of another implementation, as its own command tells it."""

import pathlib
import re
import shlex
import subprocess

from agkd_tf.errors import InputError


class Peer:
    """A command that measures steps of the same work and prints `median X s` and `Y images/s`.

    Args:
        command: the command line, without a shell.

    Attributes:
        images: images a step.

    Raises:
        InputError: if the command fails, or prints no such line.
    """

    def __init__(self, command):
        try:
            self._command = shlex.split(command)
        except ValueError as error:
            raise InputError(f"`peer` is no command line: {error}. Received: {command!r}") from error
        if not self._command:
            raise InputError("`peer` must be a command line. Received: ''")
        _, self.images = self._measure()

    def run(self, steps):
        """Returns the seconds of its median step: how many steps it takes is the command's own business."""
        return [self._measure()[0]]

    @property
    def name(self):
        """The command, of each word like a path its last part."""
        return " ".join(pathlib.Path(word).name if "/" in word and " " not in word else word for word in self._command)

    def _measure(self):
        try:
            done = subprocess.run(self._command, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = (getattr(error, "stderr", None) or "").strip().splitlines() or [str(error)]
            raise InputError(f"`peer` {shlex.join(self._command)} failed: {reason[-1]}") from error
        median = re.search(r"median ([\d.]+) s", done.stdout)
        rate = re.search(r"([\d.]+) images/s", done.stdout)
        if not (median and rate):
            raise InputError(
                f"`peer` must print `median X s` and `Y images/s`. Received: {done.stdout.strip()[:200]!r}"
            )
        return float(median[1]), round(float(median[1]) * float(rate[1]))
