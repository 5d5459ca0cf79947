"""Adversarial images as PNGs, for whoever has no NumPy: what they hold is what was evaluated, to the bit."""

import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from agkd_tf.errors import InputError
from agkd_tf.evaluation.identity import same_description
from agkd_tf.files import read_json, remove_leftovers, replacing, set_aside, write_text
from agkd_tf.types import PathLike

DESCRIPTION = "adversaries.json"
NAME = re.compile(r"(\d{5,})_label(\d+)_seen(\d+)\.png")


def check_png_shape(shape: Sequence[int]) -> None:
    """Checks that images can be saved as PNGs.

    Args:
        shape: (N, H, W, C).

    Raises:
        InputError: if they have another number of channels than 1 (grey) or 3 (RGB).
    """
    if shape[-1] not in (1, 3):
        raise InputError(f"PNGs are of images of 1 or 3 channels. Received: {shape[-1]}")


def write_pngs(
    folder: PathLike,
    adversaries: np.ndarray,
    labels: np.ndarray,
    predictions: np.ndarray,
    described: Mapping[str, Any],
    *,
    missing_only: bool = False,
) -> None:
    """Writes adversaries as 8-bit PNGs, `00012_label3_seen5.png` for the image at place 12 of the split, of class 3.

    Each file is whole or absent. A folder that is described otherwise is moved to `<name>.previous-1` and so on; files
    in it that are none of these images, such as those that a killed process left half-written, are removed.

    Args:
        folder: the folder, which is made; its description is kept in it, as `adversaries.json`.
        adversaries: float32 [N, H, W, C] of an attack that is `agkd_tf.attacks.rounded`.
        labels: int [N].
        predictions: int [N], the classes seen in them (see `Outcome`).
        described: what the adversaries are of, for JSON (see `EvaluationRecord.described`).
        missing_only: leave the files as they are that are there.

    Raises:
        InputError: if images have other channels than 1 or 3, or are not of 8 bits.
    """
    check_png_shape(adversaries.shape)
    folder = pathlib.Path(folder)
    if folder.exists() and not _is_described(folder, described):
        set_aside(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / DESCRIPTION, json.dumps(described, indent=2) + "\n")
    classes = zip(labels, predictions, strict=True)
    names = [f"{place:05d}_label{label}_seen{seen}.png" for place, (label, seen) in enumerate(classes)]
    remove_leftovers(folder / DESCRIPTION)
    for path in set(folder.glob("*.png")) - {folder / name for name in names}:  # those with a dot before them, too
        path.unlink()
    for place, name in enumerate(names):
        if missing_only and (folder / name).exists():
            continue
        pixels = np.rint(adversaries[place] * 255).astype(np.uint8)
        if not np.array_equal(pixels.astype(np.float32) / np.float32(255), adversaries[place]):
            raise InputError(f"adversary {place} is not of 8 bits: evaluate agkd_tf.attacks.rounded(attack)")
        with replacing(folder / name) as temporary:
            Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(temporary)


class AdversaryPNGs:
    """The adversaries that `write_pngs` wrote, read when they are asked for.

    Args:
        folder: the folder.
        described: what they must be of.
        labels: int [N].
        shape: (H, W, C) of an image.
        predictions: int [N], the classes that the files' names must say that they are seen as; None for any.

    Attributes:
        seen: int [N], the classes that the files' names say that they are seen as.

    Raises:
        InputError: if there is no such folder, it is described otherwise, or an image is missing or named otherwise;
            by indexing, if a file is damaged or of another size.
    """

    def __init__(
        self,
        folder: PathLike,
        described: Mapping[str, Any],
        labels: np.ndarray,
        shape: tuple[int, ...],
        *,
        predictions: np.ndarray | None = None,
    ) -> None:
        folder = pathlib.Path(folder)
        if not folder.is_dir():
            raise InputError(f"adversaries {folder} are not there: evaluate with `png=True` first")
        if not _is_described(folder, described):
            raise InputError(f"adversaries {folder} are of another model, data set or attack: evaluate anew")
        found = [match for path in sorted(folder.iterdir()) if (match := NAME.fullmatch(path.name))]
        places = [int(match[1]) for match in found]
        if places != list(range(len(labels))):
            wrong = next((place for place in range(len(labels)) if places.count(place) != 1), len(labels))
            raise InputError(
                f"adversaries {folder}: one PNG for each of {len(labels)} images is needed. "
                f"Received: {places.count(wrong)} of image {wrong}"
            )
        self.seen = np.array([int(match[3]) for match in found])
        for kind, named, known in (
            ("labelled", [int(match[2]) for match in found], labels),
            ("seen as", self.seen, predictions),
        ):
            if known is None:
                continue
            differing = np.flatnonzero(np.asarray(named) != known)
            if len(differing):
                path = folder / found[differing[0]][0]
                raise InputError(f"adversary {path} is {kind} {known[differing[0]]}, by the record")
        self._paths, self._shape = [folder / match[0] for match in found], shape

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, places: slice) -> np.ndarray:
        """Returns uint8 [B, H, W, C]; `places` is a slice."""
        return np.stack([self._read(path) for path in self._paths[places]])

    def _read(self, path: pathlib.Path) -> np.ndarray:
        try:
            with Image.open(path, formats=["PNG"]) as image:
                pixels = np.asarray(image)
        except Exception as error:  # of a file that may hold anything
            raise InputError(f"adversary {path} cannot be read: {error}") from error
        if pixels.dtype != np.uint8 or (pixels[..., None] if pixels.ndim == 2 else pixels).shape != self._shape:
            raise InputError(
                f"adversary {path} is not of {self._shape}, 8 bits. Received: {pixels.shape}, {pixels.dtype}"
            )
        return pixels.reshape(self._shape)


def _is_described(folder: pathlib.Path, described: Mapping[str, Any]) -> bool:
    try:
        return same_description(read_json(folder / DESCRIPTION), described)
    except (OSError, InputError):
        return False
