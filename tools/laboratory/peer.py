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
        InputError: if the command fails, prints no such line, or rounds its rate until the images cannot be told.
    """

    def __init__(self, command: str) -> None:
        try:
            self._command = shlex.split(command)
        except ValueError as error:
            raise InputError(f"`peer` is no command line: {error}. Received: {command!r}") from error
        if not self._command:
            raise InputError("`peer` must be a command line. Received: ''")
        median, rate = self._measure()
        images = float(median) * float(rate)
        # A slow step's 0.4 images a second may be of one image more or less.
        rounded = float(median) * 0.5 * 10.0 ** -len(rate.partition(".")[2])
        if round(images - rounded) != round(images + rounded):
            raise InputError(
                f"`peer` must print its images/s with more digits: {rate} at {median} s may be of "
                f"{images - rounded:.1f} to {images + rounded:.1f} images a step"
            )
        self.images = round(images)

    def run(self, steps: int) -> list[float]:
        """Returns the seconds of its median step: how many steps it takes is the command's own business."""
        median, _ = self._measure()
        return [float(median)]

    @property
    def name(self) -> str:
        """The command, of each word like a path its last part."""
        return " ".join(pathlib.Path(word).name if "/" in word and " " not in word else word for word in self._command)

    def _measure(self) -> tuple[str, str]:
        """Returns (median seconds, images a second) as the command prints them."""
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
