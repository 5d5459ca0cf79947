"""What is said while something takes its time: a bar, lines, or nothing."""

import sys
import time
from collections.abc import Callable
from typing import Any, Literal

from tqdm import tqdm

Mode = Literal["auto", "bar", "lines", "off"]
SECONDS_BETWEEN_LINES = 30


class Progress:
    """Says how far something is, and when it will be done.

    Args:
        mode: "bar", "lines" or "off"; "auto" for a bar on a terminal and in a notebook, lines elsewhere.
    """

    def __init__(self, mode: Mode = "auto") -> None:
        self.mode = mode

    @property
    def is_off(self) -> bool:
        """Whether nothing is said."""
        return self.mode == "off"

    @property
    def is_bar(self) -> bool:
        """Whether it is a bar that moves."""
        return self.mode == "bar" or (self.mode == "auto" and (sys.stdout.isatty() or "ipykernel" in sys.modules))

    def say(self, text: str) -> None:
        """Prints a line."""
        if not self.is_off:
            print(text, flush=True)

    def counting(self, title: str, unit: str) -> Callable[[int, int], None] | None:
        """Returns `show(done, total)`, which shows the time that is left, too; None where nothing is said."""
        return None if self.is_off else self._shown(title, unit)

    def _shown(self, title: str, unit: str) -> Callable[[int, int], None]:
        bars: list[tqdm] = []
        begun = told = time.monotonic()

        def show(done: int, total: int) -> None:
            nonlocal told
            now = time.monotonic()
            if self.is_bar:
                if not bars:
                    bars.append(tqdm(total=total, desc=title, unit=f" {unit}s", leave=False, file=sys.stdout))
                bars[0].update(done - bars[0].n)
                if done >= total:
                    bars[0].close()
            elif done and now - told >= SECONDS_BETWEEN_LINES:
                left = (now - begun) / done * (total - done)
                print(f"{title}: {done} of {total} {unit}s, {left:.0f} s left", flush=True)
                told = now

        return show

    def of_attack(self, title: str) -> Callable | None:
        """Returns the `progress` of `agkd_tf.evaluation.run_attack` for an attack of that title, or None."""
        if self.is_off:
            return None
        shows: dict[Any, Callable[[int, int], None]] = {}

        def show(part: Any, variant: int, done: int, total: int) -> None:
            stage = part.name if part.variants == 1 else f"{part.name} {variant + 1}/{part.variants}"
            if (part, variant) not in shows:
                shows[part, variant] = self._shown(title if stage == title else f"{title}: {stage}", "image")
            shows[part, variant](done, total)

        return show
