"""Progress display: a bar, lines, or nothing."""

import sys
import time
from collections.abc import Callable
from typing import Any, Literal

from tqdm import tqdm

Mode = Literal["auto", "bar", "lines", "off"]
SECONDS_BETWEEN_LINES = 30


class Progress:
    """Shows how far a computation is, and how long it will take.

    Args:
        mode: "bar", "lines" or "off"; "auto" shows a bar on a terminal and in a notebook, and lines elsewhere.
    """

    def __init__(self, mode: Mode = "auto") -> None:
        self.mode = mode

    @property
    def is_off(self) -> bool:
        """Whether nothing is printed."""
        return self.mode == "off"

    @property
    def is_bar(self) -> bool:
        """Whether progress is shown as a bar."""
        return self.mode == "bar" or (self.mode == "auto" and (sys.stdout.isatty() or "ipykernel" in sys.modules))

    def say(self, text: str) -> None:
        """Prints a line, unless the mode is "off"."""
        if not self.is_off:
            print(text, flush=True)

    def counting(self, title: str, unit: str, begun: int = 0) -> Callable[[int, int], None] | None:
        """Returns `show(done, total)`, which also shows the remaining time; None if the mode is "off".

        Args:
            title: what is computed.
            unit: what is counted, in the singular, such as "image".
            begun: how many were done before, which took no time here.
        """
        return None if self.is_off else self._shown(title, unit, begun)

    def _shown(self, title: str, unit: str, before: int = 0) -> Callable[[int, int], None]:
        bars: list[tqdm] = []
        begun = told = time.monotonic()

        def show(done: int, total: int) -> None:
            nonlocal told
            now = time.monotonic()
            if self.is_bar:
                if not bars:
                    style = {"desc": title, "unit": f" {unit}s", "leave": False, "file": sys.stdout}
                    bars.append(tqdm(total=total, initial=before, **style))
                bars[0].update(done - bars[0].n)
                if done >= total:
                    bars[0].close()
            elif done > before and now - told >= SECONDS_BETWEEN_LINES:
                left = (now - begun) / (done - before) * (total - done)
                print(f"{title}: {done} of {total} {unit}s, {left:.0f} s left", flush=True)
                told = now

        return show

    def of_attack(self, title: str) -> Callable | None:
        """Returns the argument `progress` for `agkd_tf.evaluation.run_attack`; None if the mode is "off".

        Args:
            title: the attack's name.
        """
        if self.is_off:
            return None
        shows: dict[Any, Callable[[int, int], None]] = {}

        def show(part: Any, variant: int, done: int, total: int) -> None:
            stage = part.name if part.variants == 1 else f"{part.name} {variant + 1}/{part.variants}"
            if (part, variant) not in shows:
                shows[part, variant] = self._shown(title if stage == title else f"{title}: {stage}", "image")
            shows[part, variant](done, total)

        return show
