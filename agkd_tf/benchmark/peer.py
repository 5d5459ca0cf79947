"""The time of another implementation, as its own command tells it."""

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
        self._command = shlex.split(command)
        _, self.images = self._measure()

    def run(self, steps):
        """Returns the seconds of its median step: how many steps it takes is the command's own business."""
        return [self._measure()[0]]

    def facts(self):
        """Returns for JSON what is known of it."""
        return {"command": shlex.join(self._command)}

    def _measure(self):
        try:
            done = subprocess.run(self._command, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
            raise InputError(f"`peer` {shlex.join(self._command)} failed: {reason}") from error
        median = re.search(r"median ([\d.]+) s", done.stdout)
        rate = re.search(r"([\d.]+) images/s", done.stdout)
        if not (median and rate):
            raise InputError(
                f"`peer` must print `median X s` and `Y images/s`. Received: {done.stdout.strip()[:200]!r}"
            )
        return float(median[1]), round(float(median[1]) * float(rate[1]))
