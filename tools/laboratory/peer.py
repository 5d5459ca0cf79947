"""Times another implementation by running its own command."""

import pathlib
import re
import shlex
import subprocess

from agkd_tf.errors import InputError


class Peer:
    """A command that times steps of the same work and prints `median X s` and `Y images/s`.

    Args:
        command: the command line, which is run without a shell.

    Attributes:
        images: images per step.

    Raises:
        InputError: if the command fails, does not print both numbers, or rounds its rate so much that the number of
            images per step is ambiguous.
    """

    def __init__(self, command: str) -> None:
        try:
            self._command = shlex.split(command)
        except ValueError as error:
            raise InputError(f"`peer` is not a command line: {error}. Received: {command!r}") from error
        if not self._command:
            raise InputError("`peer` must be a command line. Received: ''")
        median, rate = self._measure()
        images = float(median) * float(rate)
        # For a slow step, a rate rounded to 0.4 images/s may mean one image more or less.
        rounded = float(median) * 0.5 * 10.0 ** -len(rate.partition(".")[2])
        if round(images - rounded) != round(images + rounded):
            raise InputError(
                f"`peer` must print its images/s with more digits: {rate} at {median} s may mean "
                f"{images - rounded:.1f} to {images + rounded:.1f} images per step"
            )
        self.images = round(images)

    def run(self, steps: int) -> list[float]:
        """Returns the seconds of its median step. `steps` is ignored: the command decides how many it times."""
        median, _ = self._measure()
        return [float(median)]

    @property
    def name(self) -> str:
        """The command, with each path in it shortened to its last part."""
        return " ".join(pathlib.Path(word).name if "/" in word and " " not in word else word for word in self._command)

    def _measure(self) -> tuple[str, str]:
        """Runs the command; returns (median seconds, images per second) as it prints them."""
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
        return median[1], rate[1]
