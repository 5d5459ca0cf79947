"""What a result is called in a record: the attack, and in brackets what tells it from others of the attack's name."""

import dataclasses
import re
from typing import Any

from agkd_tf.perturbation_size import format_size, parse_size

SPLITS = ("train", "validation", "test")
UNNAMED = r"images [0-9a-f]{8}"  # those of no split: called by their digest
SETTING = rf"(?:train|validation|{UNNAMED}|(?:linf|l2) [0-9][0-9./e+-]*|seed \d+|\d+ bits|first \d+)"
TEXT = re.compile(rf"\A(?P<attack>.*?)(?: \[(?P<settings>{SETTING}(?:, {SETTING})*)\])?\Z", re.DOTALL)
SUFFIX = re.compile(rf" \[{SETTING}(?:, {SETTING})*\]")


@dataclasses.dataclass(frozen=True)
class Key:
    """The name of a result, such as `pgd-20 [linf 4/255, first 100]`.

    Attributes:
        attack: the attack's name.
        norm, eps: of the ball; None for the ball of the run that is evaluated.
        split: of the data set, or `images` and the first eight digits of a digest for images of none.
        count: first so many images of the split; None for all of them.
        seed: of the attack's random numbers.
        bits: of a pixel, to which adversaries are rounded; None where they are not.
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
        """What follows the attack's name; empty for a run's own ball, all test images and seed 0."""
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
        """Returns the `Key` that a text is, of which `str` makes the same text again."""
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
        """Returns the key without the attack: equal for results that may be counted together."""
        return dataclasses.replace(self, attack="")


def images_name(split: str, count: int | None) -> str:
    """Returns what a record calls images: `test`, or `test, first 24`."""
    return split if count is None else f"{split}, first {count}"


def split_and_count(name: str) -> tuple[str, int | None]:
    """Returns the (split, count) of what `images_name` returned."""
    split, _, first = name.partition(", first ")
    return split, int(first) if first else None


def is_unnamed(name: str) -> bool:
    """Returns whether a record knows images by their digest alone."""
    return re.fullmatch(UNNAMED, name) is not None


def renamed(text: str, old: str, new: str) -> str:
    """Returns a key, or another text with a key's suffix in it, for images that are called otherwise now."""

    def other(match: re.Match) -> str:
        key = Key.read(match[0])
        if images_name(key.split, key.count) != old:
            return match[0]
        split, count = split_and_count(new)
        return dataclasses.replace(key, split=split, count=count).suffix

    return SUFFIX.sub(other, text)
