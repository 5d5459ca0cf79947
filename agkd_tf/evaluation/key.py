"""The name of a result in a record: the attack, and in brackets the settings that distinguish it."""

import dataclasses
import re
from typing import Any

from agkd_tf.perturbation_size import format_size, parse_size

SPLITS = ("train", "validation", "test")
UNNAMED = r"images [0-9a-f]{8}"  # images that belong to no split are named by their digest
SETTING = rf"(?:train|validation|{UNNAMED}|(?:linf|l2) [0-9][0-9./e+-]*|seed \d+|\d+ bits|first \d+)"
TEXT = re.compile(rf"\A(?P<attack>.*?)(?: \[(?P<settings>{SETTING}(?:, {SETTING})*)\])?\Z", re.DOTALL)
SUFFIX = re.compile(rf" \[{SETTING}(?:, {SETTING})*\]")


@dataclasses.dataclass(frozen=True)
class Key:
    """The name of a result, such as `pgd-20 [linf 4/255, first 100]`.

    Attributes:
        attack: the attack's name.
        norm, eps: the ball; None for the evaluated run's own ball.
        split: split of the data set; for images of no split, `images` and the first eight digits of their digest.
        count: only the first N images of the split; None for all of them.
        seed: seed of the attack's random numbers.
        bits: bits per pixel that adversaries are rounded to; None if they are not rounded.
    """

    attack: str
    norm: str | None = None
    eps: float | None = None
    split: str = "test"
    count: int | None = None
    seed: int = 0
    bits: int | None = None

    @property
    def suffix(self) -> str:
        """The text after the attack's name; empty for a run's own ball, all test images and seed 0."""
        settings = [] if self.split == "test" else [self.split]
        if self.eps is not None:
            settings.append(f"{self.norm} {format_size(self.eps)}")
        if self.seed:
            settings.append(f"seed {self.seed}")
        if self.bits is not None:
            settings.append(f"{self.bits} bits")
        if self.count is not None:
            settings.append(f"first {self.count}")
        return f" [{', '.join(settings)}]" if settings else ""

    def __str__(self) -> str:
        return self.attack + self.suffix

    @classmethod
    def read(cls, text: str) -> "Key":
        """Parses a `Key` from its text; `str` turns it back into the same text."""
        match = next(TEXT.finditer(text))
        found: dict[str, Any] = {"attack": match["attack"]}
        for setting in (match["settings"] or "").split(", "):
            words = setting.split(" ")
            match words:
                case ["linf" | "l2", size]:
                    found |= {"norm": words[0], "eps": parse_size(size)}
                case ["seed", number]:
                    found["seed"] = int(number)
                case [number, "bits"]:
                    found["bits"] = int(number)
                case ["first", number]:
                    found["count"] = int(number)
                case _ if setting:
                    found["split"] = setting
        return cls(**found)

    def of_all(self) -> "Key":
        """Returns the key without the attack; it is equal for results that one worst case may combine."""
        return dataclasses.replace(self, attack="")


def images_name(split: str, count: int | None) -> str:
    """Returns the name of images in a record: `test`, or `test, first 24`."""
    return split if count is None else f"{split}, first {count}"


def split_and_count(name: str) -> tuple[str, int | None]:
    """Returns the (split, count) in a name that `images_name` returned."""
    split, _, first = name.partition(", first ")
    return split, int(first) if first else None


def is_unnamed(name: str) -> bool:
    """Returns whether a name of images is only their digest."""
    return re.fullmatch(UNNAMED, name) is not None


def renamed(text: str, old: str, new: str) -> str:
    """Replaces the name of the images, `old` by `new`, in a key or another text that contains a key's suffix."""

    def other(match: re.Match) -> str:
        key = Key.read(match[0])
        if images_name(key.split, key.count) != old:
            return match[0]
        split, count = split_and_count(new)
        return dataclasses.replace(key, split=split, count=count).suffix

    return SUFFIX.sub(other, text)
