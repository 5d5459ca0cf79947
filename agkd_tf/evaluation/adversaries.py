"""Adversarial images on disk, and the recomputation of an accuracy from them alone."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from agkd_tf.attacks import Ball, Norm
from agkd_tf.data import Examples
from agkd_tf.data.pixels import as_float
from agkd_tf.errors import InputError
from agkd_tf.evaluation.adversary_pngs import AdversaryPNGs
from agkd_tf.evaluation.identity import same_description
from agkd_tf.files import remove_leftovers, replacing, set_aside, write_text
from agkd_tf.models import logits_of
from agkd_tf.types import Logits, PathLike


class VerificationError(RuntimeError):
    """Raised when saved adversaries contradict a recorded accuracy; the message says how."""


def create_adversaries(path: PathLike, shape: Sequence[int], described: Mapping[str, Any]) -> np.ndarray:
    """Returns a float32 array [N, H, W, C], mapped to a `.npy` file on disk, to write adversaries into.

    A file with the same shape and description is continued; any other is moved to `<name>.previous-1` and so on.
    Images that are not written yet are NaN; see `unwritten`. Files that a killed process left half-written are
    removed.

    Args:
        path: the file; its description is kept beside it, as `.json`.
        shape: (N, H, W, C).
        described: describes the adversaries, for JSON (see `EvaluationRecord.described`).

    Raises:
        InputError: if the file cannot be written.
    """
    path = pathlib.Path(path)
    for each in (path, path.with_suffix(".json")):
        remove_leftovers(each)
    if same_description(_description(path), described):
        found = open_adversaries(path, described, writable=True)
        if found.shape == tuple(shape):
            return found
    set_aside(path, path.with_suffix(".json"))
    unknown = np.full(shape[1:], np.nan, np.float32).tobytes()
    header = {"descr": "<f4", "fortran_order": False, "shape": tuple(shape)}
    try:
        # Written in full: a disk that is too small is noticed now, not by a crash in the middle of an attack.
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.lib.format.write_array_header_2_0(file, header)
            for _ in range(shape[0]):
                file.write(unknown)
    except OSError as error:
        needed = f"{len(unknown) * shape[0] / 2**20:,.0f} MiB"
        raise InputError(f"adversaries {path}: {needed} cannot be written: {error.strerror}") from error
    write_text(path.with_suffix(".json"), json.dumps(described, indent=2) + "\n")
    return open_adversaries(path, described, writable=True)


def unwritten(adversaries: np.ndarray) -> np.ndarray:
    """Returns bool [N], True for images whose adversary was never written."""
    return np.isnan(adversaries[:, 0, 0, 0])


def open_adversaries(path: PathLike, described: Mapping[str, Any], *, writable: bool = False) -> np.ndarray:
    """Returns the array of adversaries in a `.npy` file.

    Raises:
        InputError: if there is no such file, it cannot be read, or its description differs.
    """
    path = pathlib.Path(path)
    if path.exists() and not same_description(_description(path), described):
        raise InputError(
            f"adversaries {path} belong to another model, data set or attack: evaluate again, which keeps them"
        )
    try:
        return np.load(path, mmap_mode="r+" if writable else "r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"adversaries {path} cannot be read: {error}") from error


def _description(path: pathlib.Path) -> Any:
    """Returns the description beside a file of adversaries, or None."""
    try:
        return json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def verify_adversaries(
    logits: keras.Model | Logits,
    examples: Examples,
    adversaries: np.ndarray | AdversaryPNGs,
    *,
    eps: float,
    norm: Norm,
    accuracy: float,
    predictions: np.ndarray | None = None,
    batch_size: int = 100,
) -> float:
    """Recomputes an accuracy from saved adversarial images alone.

    There is no tolerance. Another machine, or XLA, may round differently and thus classify an adversary right at the
    decision boundary differently; this raises an error, too.

    Args:
        logits: a `keras.Model` or a callable, as for `run_attack`.
        examples: the `Examples` that were attacked.
        adversaries: float32 [N, H, W, C], or `AdversaryPNGs`.
        eps, norm: ball of the attack.
        accuracy: the recorded accuracy.
        predictions: int [N], the recorded predictions on the adversaries (see `Outcome`); None if they were not
            recorded.
        batch_size: images per step.

    Returns:
        The recomputed accuracy.

    Raises:
        VerificationError: if an image lies outside the ball or outside [0, 1], or if a prediction or the accuracy
            differs from the recorded one.
    """
    if len(adversaries) != len(examples):
        raise VerificationError(f"there are {len(adversaries)} adversaries for {len(examples)} images")
    predict = tf.function(logits_of(logits), autograph=False, reduce_retracing=True)
    seen, ball = np.empty(len(examples), np.int64), Ball(norm, eps)
    for start in range(0, len(examples), batch_size):
        part = slice(start, start + batch_size)
        adv, clean = (as_float(tf.constant(each[part])).numpy() for each in (adversaries, examples.images))
        in_box = (adv.min((1, 2, 3)) >= 0) & (adv.max((1, 2, 3)) <= 1)
        outside = np.flatnonzero(~(ball.contains(adv - clean).numpy() & in_box))
        if len(outside):
            raise VerificationError(
                f"adversary {start + outside[0]} is not within {norm} {eps:g} of its image and in [0, 1]: "
                f"distance {ball.length(adv - clean)[outside[0]]:g}"
            )
        seen[part] = np.argmax(predict(tf.constant(adv)), 1)
    found = float(np.mean(seen == examples.labels))
    differing = np.flatnonzero([] if predictions is None else seen != predictions)
    if predictions is not None and len(differing):
        first = differing[0]
        raise VerificationError(
            f"{len(differing)} of {len(examples)} adversaries are classified differently than recorded, which leaves "
            f"{found:.2%} correct instead of {accuracy:.2%}; the first is {first}: class {seen[first]} instead of "
            f"{predictions[first]}"
        )
    if abs(found - accuracy) > 0.5 / len(examples):
        raise VerificationError(f"the saved adversaries leave {found:.2%} correct, the record says {accuracy:.2%}")
    return found
