"""The outcome of an attack for each image, including the progress of an unfinished evaluation."""

import copy
import dataclasses
import pathlib

import numpy as np

from agkd_tf.attacks import AttackSequence, Ball
from agkd_tf.errors import InputError
from agkd_tf.files import check_archive, replacing

UNKNOWN = -1


@dataclasses.dataclass
class Outcome:
    """The state of each image under one attack.

    Attributes:
        state: int16 [N]. s >= 0: the image stayed correctly classified through the attack's first s
            stages; -(s + 1): stage s fooled the classifier. An evaluation is finished when every image
            has passed all stages or was misclassified in one of them.
        prediction: int16 [N], the class predicted for the image's last adversary; -1 before the first.
        seconds: time that the attack has taken so far, including compilation.
        norms: of an attack that searches for the smallest perturbation, float32 [N]: the norm of the smallest one that
            was found, 0 for an image that is misclassified as it is, infinity where none was found, NaN where the
            search has not ended. None for other attacks.
        nearest: int16 [N], the class predicted for the image with that perturbation; -1 where there is none.
    """

    state: np.ndarray
    prediction: np.ndarray
    seconds: float = 0.0
    norms: np.ndarray | None = None
    nearest: np.ndarray | None = None

    @classmethod
    def fresh(cls, count: int) -> "Outcome":
        """Returns the outcome of an attack on `count` images that has not started."""
        return cls(np.zeros(count, np.int16), np.full(count, UNKNOWN, np.int16))

    def restart(self, places: slice | np.ndarray = slice(None)) -> None:
        """Resets the outcome of some images, or of all."""
        self.state[places], self.prediction[places] = 0, UNKNOWN
        if self.norms is not None and self.nearest is not None:
            self.norms[places], self.nearest[places] = np.nan, UNKNOWN
        if not self.state.any():
            self.seconds = 0.0

    @property
    def robust(self) -> np.ndarray:
        """Bool [N], True for images that no stage has broken so far."""
        return self.state >= 0

    def waiting(self, stage: int) -> np.ndarray:
        """Returns the indices of the images that stage number `stage` still has to attack."""
        return np.flatnonzero(self.state == stage)

    def finished(self, stages: int) -> bool:
        """Returns whether every image is broken or has passed `stages` stages."""
        return bool(np.all((self.state < 0) | (self.state == stages)))

    @property
    def searched(self) -> int:
        """Number of images whose norm is known."""
        return 0 if self.norms is None else int(np.count_nonzero(~np.isnan(self.norms)))

    def take_norms(self, other: "Outcome") -> None:
        """Takes over the norms of the same search within another ball, and its time."""
        self.norms, self.nearest, self.seconds = copy.copy(other.norms), copy.copy(other.nearest), other.seconds

    def measure(self, places: np.ndarray, norms: np.ndarray, nearest: np.ndarray) -> None:
        """Notes the smallest perturbations of some images.

        Args:
            places: integer [n], indices of the images.
            norms: float32 [n], see `Outcome`; NaN where the search goes on.
            nearest: integer [n], the classes predicted for the images with these perturbations.
        """
        if self.norms is None or self.nearest is None:
            self.norms = np.full(len(self.state), np.nan, np.float32)
            self.nearest = np.full(len(self.state), UNKNOWN, np.int16)
        self.norms[places], self.nearest[places] = norms, np.where(np.isfinite(norms), nearest, UNKNOWN)

    def judge(self, ball: Ball, labels: np.ndarray) -> None:
        """Sets the state and the prediction of each image with a known norm to those within a ball.

        Args:
            ball: `Ball` with a number as eps.
            labels: integer [N].
        """
        if self.norms is None or self.nearest is None:
            return
        within = self.norms <= ball.limit
        known = ~np.isnan(self.norms)
        # Stage 0 is the clean image, stage 1 the attack; where that has found nothing, it returns the clean image.
        self.state[known] = np.where(within, np.where(self.norms > 0, -2, -1), 2)[known]
        self.prediction[known] = np.where(within, self.nearest, labels)[known]

    def broken_by(self, attack: AttackSequence) -> dict[str, int]:
        """Returns, for each part of the attack, its name -> number of images that it broke."""
        counts: dict[str, int] = {}
        for number, (part, _) in enumerate(attack.stages):
            broken = int(np.count_nonzero(self.state == -(number + 1)))
            if broken:
                counts[part.name] = counts.get(part.name, 0) + broken
        return counts


class Outcomes:
    """The outcomes of several attacks in one `.npz` file.

    For each attack, the file holds the arrays `<key>/label` int32 [N], `<key>/state`, `<key>/prediction` and
    `<key>/seconds`, and of an attack that searches for the smallest perturbation `<key>/norms` and `<key>/nearest` (see
    `Outcome`).

    Args:
        path: the file; None to keep the outcomes in memory.
        read: whether to read the file if it exists.

    Raises:
        InputError: if the file cannot be read.
    """

    def __init__(self, path: pathlib.Path | None, *, read: bool = True) -> None:
        self._path = None if path is None else pathlib.Path(path)
        self._outcomes: dict[str, Outcome] = {}
        self._labels: dict[str, np.ndarray] = {}
        if read and self._path is not None and self._path.exists():
            try:
                check_archive(self._path)
                with np.load(self._path, allow_pickle=False) as arrays:
                    content = dict(arrays)
                for key in {name.rpartition("/")[0] for name in content if name.endswith("/state")}:
                    self._outcomes[key] = Outcome(
                        content[f"{key}/state"],
                        content[f"{key}/prediction"],
                        float(content[f"{key}/seconds"]),
                        content.get(f"{key}/norms"),
                        content.get(f"{key}/nearest"),
                    )
                    self._labels[key] = content[f"{key}/label"]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise InputError(f"{path} cannot be read or is damaged; move it away: {error}") from error

    def get(self, key: str, labels: np.ndarray) -> Outcome:
        """Returns the `Outcome` named `key` if its labels are these; otherwise puts a fresh one under that key."""
        known = self._outcomes.get(key)
        if known is None or not np.array_equal(self._labels[key], labels):
            self._outcomes[key], self._labels[key] = Outcome.fresh(len(labels)), np.asarray(labels)
        return self._outcomes[key]

    def __contains__(self, key: str) -> bool:
        return key in self._outcomes

    def known(self, key: str) -> Outcome:
        """Returns the `Outcome` named `key`, which must exist."""
        return self._outcomes[key]

    def drop(self, key: str) -> bool:
        """Removes the outcome named `key`; returns whether there was one."""
        return self._outcomes.pop(key, None) is not None

    def put(self, key: str, others: "Outcomes", their_key: str) -> None:
        """Stores under `key` the outcome that `others` stores under `their_key`."""
        self._outcomes[key], self._labels[key] = others._outcomes[their_key], others._labels[their_key]

    def rename(self, old: str, new: str) -> None:
        """Renames the outcome `old` to `new`, if it exists."""
        if old in self._outcomes:
            self._outcomes[new], self._labels[new] = self._outcomes.pop(old), self._labels.pop(old)

    def save(self) -> None:
        """Writes the file in one step, so that it is never half-written."""
        if self._path is None:
            return
        arrays: dict[str, np.ndarray] = {}
        for key, outcome in self._outcomes.items():
            arrays |= {
                f"{key}/label": self._labels[key],
                f"{key}/state": outcome.state,
                f"{key}/prediction": outcome.prediction,
                f"{key}/seconds": np.array(outcome.seconds),
            }
            if outcome.norms is not None and outcome.nearest is not None:
                arrays |= {f"{key}/norms": outcome.norms, f"{key}/nearest": outcome.nearest}
        with replacing(self._path) as path, open(path, "wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # NumPy's own arguments are keywords, too
