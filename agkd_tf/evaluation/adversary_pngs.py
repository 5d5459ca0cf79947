"""Adversarial images as PNGs, to read without NumPy: they hold exactly what was evaluated, bit for bit."""

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
        InputError: if they have neither 1 (grey) nor 3 (RGB) channels.
    """
    if shape[-1] not in (1, 3):
        raise InputError(f"PNGs need images with 1 or 3 channels. Received: {shape[-1]}")


def write_pngs(
    folder: PathLike,
    adversaries: np.ndarray,
    labels: np.ndarray,
    predictions: np.ndarray,
    described: Mapping[str, Any],
    *,
    missing_only: bool = False,
) -> None:
    """Writes adversaries as 8-bit PNGs, such as `00012_label3_seen5.png`: image 12 of the split, class 3, seen as 5.

    Each file is complete or absent. A folder with another description is moved to `<name>.previous-1` and so on. PNGs
    in the folder that are not among these images, such as half-written ones of a killed process, are removed.

    Args:
        folder: the folder, created if needed; its description is kept in it, as `adversaries.json`.
        adversaries: float32 [N, H, W, C], made by an attack that is `agkd_tf.attacks.rounded`.
        labels: int [N].
        predictions: int [N], the classes predicted for the adversaries (see `Outcome`).
        described: describes the adversaries, for JSON (see `EvaluationRecord.described`).
        missing_only: leave existing files as they are.

    Raises:
        InputError: if images have neither 1 nor 3 channels, or their values are not multiples of 1/255.
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
    for path in set(folder.glob("*.png")) - {folder / name for name in names}:  # also those that begin with a dot
        path.unlink()
    for place, name in enumerate(names):
        if missing_only and (folder / name).exists():
            continue
        pixels = np.rint(adversaries[place] * 255).astype(np.uint8)
        if not np.array_equal(pixels.astype(np.float32) / np.float32(255), adversaries[place]):
            raise InputError(f"adversary {place} is not rounded to 8 bits: evaluate agkd_tf.attacks.rounded(attack)")
        with replacing(folder / name) as temporary:
            Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(temporary)


class AdversaryPNGs:
    """The adversaries that `write_pngs` wrote; each file is read when it is indexed.

    Args:
        folder: the folder.
        described: the description that the folder must have.
        labels: int [N].
        shape: (H, W, C) of each image.
        predictions: int [N], the predicted classes that the file names must state; None to accept any.

    Attributes:
        seen: int [N], the predicted classes in the file names.

    Raises:
        InputError: if there is no such folder, its description differs, or an image is missing or has another name;
            on indexing, if a file is damaged or has another size.
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
            raise InputError(f"adversaries {folder} belong to another model, data set or attack: evaluate again")
        found = [match for path in sorted(folder.iterdir()) if (match := NAME.fullmatch(path.name))]
        places = [int(match[1]) for match in found]
        if places != list(range(len(labels))):
            wrong = next((place for place in range(len(labels)) if places.count(place) != 1), len(labels))
            raise InputError(
                f"adversaries {folder}: one PNG for each of {len(labels)} images is needed. "
                f"Received: {places.count(wrong)} for image {wrong}"
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
                raise InputError(
                    f"adversary {path} is {kind} {known[differing[0]]} in the record, not as its name says"
                )
        self._paths, self._shape = [folder / match[0] for match in found], shape

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, places: slice) -> np.ndarray:
        """Returns the images of a slice, uint8 [B, H, W, C]."""
        return np.stack([self._read(path) for path in self._paths[places]])

    def _read(self, path: pathlib.Path) -> np.ndarray:
        try:
            with Image.open(path, formats=["PNG"]) as image:
                pixels = np.asarray(image)
        except Exception as error:  # the file may hold anything
            raise InputError(f"adversary {path} cannot be read: {error}") from error
        if pixels.dtype != np.uint8 or (pixels[..., None] if pixels.ndim == 2 else pixels).shape != self._shape:
            raise InputError(
                f"adversary {path} must have shape {self._shape} and 8 bits. Received: {pixels.shape}, {pixels.dtype}"
            )
        return pixels.reshape(self._shape)


def _is_described(folder: pathlib.Path, described: Mapping[str, Any]) -> bool:
    try:
        return same_description(read_json(folder / DESCRIPTION), described)
    except (OSError, InputError):
        return False
