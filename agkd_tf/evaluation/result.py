"""Results of an evaluation; they print as tables."""

import dataclasses
import html
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from agkd_tf.attacks.ball import Ball
from agkd_tf.environment import describe_environment
from agkd_tf.errors import InputError
from agkd_tf.evaluation.outcome import Outcome
from agkd_tf.intervals import wilson_interval
from agkd_tf.types import PathLike

if TYPE_CHECKING:
    import pandas

    from agkd_tf.attacks import AttackSequence
    from agkd_tf.evaluation.autoattack_estimate import AutoAttackEstimate
    from agkd_tf.evaluation.record import EvaluationRecord


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """The share of images that are classified correctly.

    Attributes:
        accuracy: the share, in [0, 1].
        num_examples: number of images.
        interval: (low, high), Wilson's 95 % confidence interval.
    """

    accuracy: float
    num_examples: int
    interval: tuple[float, float]

    @classmethod
    def of(cls, correct: np.ndarray, /, **more: Any) -> Self:
        """Returns the accuracy from bool [N]: whether each image is classified correctly."""
        count = int(np.count_nonzero(correct))
        return cls(count / len(correct), len(correct), wilson_interval(count, len(correct)), **more)

    def record(self) -> dict[str, Any]:
        """Returns the numbers as a dict for JSON."""
        return {
            "accuracy": self.accuracy,
            "num_examples": self.num_examples,
            "confidence_interval_95": list(self.interval),
        }


@dataclasses.dataclass(frozen=True, eq=False)
class AttackResult(Accuracy):
    """Accuracy under one attack: the share of images that none of its stages broke.

    Attributes:
        name: the attack's name.
        settings: the attack's settings, a dict for each of its parts.
        broken_by: name of the part -> number of images that it broke.
        seed: seed of the attack's random numbers.
        seconds: wall time including compilation, summed over all sessions.
        images_per_second: num_examples / seconds.
        correct: bool [num_examples], whether each image stayed correctly classified.
        predictions: int16 [num_examples], the class predicted for each image's last adversary.
        norms: of an attack that searches for the smallest perturbation, float32 [num_examples]: the norm of the
            smallest one that it found, in the ball's norm; 0 for an image that is misclassified as it is, infinity
            where it found none. None for other attacks.
    """

    name: str
    settings: list[dict]
    broken_by: dict[str, int]
    seed: int
    seconds: float
    images_per_second: float
    correct: np.ndarray = dataclasses.field(repr=False)
    predictions: np.ndarray = dataclasses.field(repr=False)
    norms: np.ndarray | None = dataclasses.field(default=None, repr=False)

    @classmethod
    def of_outcome(cls, outcome: Outcome, attack: "AttackSequence", *, seed: int) -> "AttackResult":
        """Returns the result of a finished `Outcome`."""
        return cls.of(
            outcome.robust,
            name=attack.name,
            settings=attack.settings(),
            broken_by=outcome.broken_by(attack),
            seed=seed,
            seconds=outcome.seconds,
            images_per_second=len(outcome.state) / max(outcome.seconds, 1e-9),
            correct=outcome.robust,
            predictions=outcome.prediction,
            norms=outcome.norms,
        )

    @classmethod
    def recorded(cls, name: str, record: Mapping[str, Any], outcome: Outcome) -> "AttackResult":
        """Rebuilds a recorded result, with its stored interval.

        Args:
            name: the attack's name.
            record: what `record` returned.
            outcome: the attack's outcome per image.
        """
        return cls(
            record["accuracy"],
            record["num_examples"],
            tuple(record["confidence_interval_95"]),
            name=name,
            settings=record["attack"],
            broken_by=record["broken_by"],
            seed=record["seed"],
            seconds=record["seconds"],
            images_per_second=record["images_per_second"],
            correct=outcome.robust,
            predictions=outcome.prediction,
            norms=outcome.norms,
        )

    @property
    def median_norm(self) -> float | None:
        """The median of `norms`: at any smaller eps, at least half of the images stay correct. None without norms."""
        return None if self.norms is None else quantile(self.norms, 0.5)

    def within(self, eps: float) -> Accuracy:
        """Returns the accuracy in a ball of another radius, which follows from `norms`.

        Args:
            eps: radius in the attack's norm, in units of images in [0, 1].

        Raises:
            InputError: if the attack does not search for the smallest perturbation, or for an invalid radius.
        """
        if self.norms is None:
            raise InputError(f"{self.name} has no norms per image: take an attack such as fmn-100")
        return Accuracy.of(self.norms > Ball(self.settings[-1]["norm"], eps).limit)

    def record(self) -> dict[str, Any]:
        """Returns the result for JSON, without the images' own outcomes."""
        found = super().record() | {
            "attack": self.settings,
            "broken_by": self.broken_by,
            "seed": self.seed,
            "seconds": round(self.seconds, 2),
            "images_per_second": round(self.images_per_second, 2),
            "environment": describe_environment(),
        }
        if self.norms is not None:
            shares = {"lower_quartile": 0.25, "median": 0.5, "upper_quartile": 0.75}
            numbers = {name: quantile(self.norms, share) for name, share in shares.items()}
            # JSON has no infinity.
            found["norms"] = {name: each if math.isfinite(each) else None for name, each in numbers.items()}
            found["norms"]["not_found"] = int(np.count_nonzero(np.isinf(self.norms)))
        return found


def quantile(norms: np.ndarray, share: float) -> float:
    """Returns the norm, one of `norms`, that a share of the images lie below."""
    return float(np.quantile(norms, share, method="lower"))  # between infinities there is no mean


@dataclasses.dataclass(frozen=True, eq=False)
class WorstCase(Accuracy):
    """Accuracy under several attacks combined: an image counts as correct only if no attack broke it.

    Attributes:
        over: keys of the combined results in the record.
        correct: bool [num_examples], True for images that no attack broke.
    """

    over: tuple[str, ...]
    correct: np.ndarray = dataclasses.field(repr=False)

    def record(self) -> dict[str, Any]:
        """Returns the result for JSON, without the images' own outcomes."""
        return super().record() | {"over": list(self.over)}


def worst_case(outcomes: Mapping[str, np.ndarray]) -> WorstCase:
    """Returns the share of images that none of several attacks broke.

    Args:
        outcomes: name of the attack -> bool [N], whether each image stayed correctly classified.

    Raises:
        InputError: if `outcomes` is empty.
    """
    if not outcomes:
        raise InputError("a worst case needs at least one attack, but `attacks` is empty")
    correct = np.logical_and.reduce(list(outcomes.values()))
    return WorstCase.of(correct, over=tuple(sorted(outcomes)), correct=correct)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Evaluation(Mapping[str, AttackResult]):
    """The results of a model under attacks: name of the attack -> `AttackResult`. It prints as a table.

        result = agkd_tf.evaluate(model, x_test, y_test, attacks=["clean", "pgd-20"], eps=8 / 255)
        result["pgd-20"].accuracy, result.worst_case.accuracy

    Attributes:
        title: model, images, ball and seed, as text.
        results: name of the attack -> `AttackResult`, the same as the mapping itself.
        worst_case: worst case over these results; if they are recorded, also over all recorded results with the same
            images, ball and seed.
        estimate: estimate of AutoAttack's accuracy, if `autoattack-estimate` was among the attacks; else None.
    """

    title: str
    results: dict[str, AttackResult] = dataclasses.field(repr=False)
    _record: "EvaluationRecord" = dataclasses.field(repr=False)
    _keys: dict[str, str] = dataclasses.field(repr=False)
    _over: dict[str, np.ndarray] = dataclasses.field(repr=False)
    estimate: "AutoAttackEstimate | None" = None

    @property
    def worst_case(self) -> WorstCase:
        return worst_case(self._over)

    def __getitem__(self, name: str) -> AttackResult:
        return self.results[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def _rows(self) -> "dict[str, AttackResult | AutoAttackEstimate | WorstCase]":
        rows: dict[str, AttackResult | AutoAttackEstimate | WorstCase] = dict(self.results)
        if self.estimate is not None:
            rows["autoattack-estimate"] = self.estimate
        if len(self._over) > 1:
            rows[f"worst case of {len(self._over)}"] = self.worst_case
        return rows

    def _medians(self) -> dict[str, str]:
        """Returns the median norms of the attacks that have norms, as text."""
        return {
            name: format_norm(found.median_norm, found.settings[-1]["norm"])
            for name, found in self.results.items()
            if found.median_norm is not None
        }

    def __str__(self) -> str:
        rows = self._rows()
        widest = max([10, *map(len, rows)])
        medians = self._medians()
        heading = f"  {'attack':<{widest}} {'accuracy':>8}   95 % interval     images  seconds  images/s"
        lines = [self.title, heading + ("  median norm" if medians else "")]
        for name, found in rows.items():
            low, high = found.interval
            seconds, rate = _speed(found)
            line = (
                f"  {name:<{widest}} {100 * found.accuracy:>7.2f}%  {100 * low:>6.2f} to {100 * high:<6.2f}  "
                f"{found.num_examples:>7}  {seconds:>7}  {rate:>8}"
            )
            lines.append((line + (f"  {medians.get(name, ''):>11}" if medians else "")).rstrip())
        return "\n".join(lines if self.estimate is None else [*lines, "", str(self.estimate)])

    __repr__ = __str__

    def to_dataframe(self) -> "pandas.DataFrame":
        """Returns a `pandas.DataFrame` with a row for each attack and, if there are several, one for the worst case.

        The columns are accuracy, low and high (of the interval), num_examples, seconds and images_per_second, and
        median_norm if an attack has norms. The worst case has no seconds, images_per_second and median_norm.
        """
        import pandas  # here, since it takes a second to load and few need it

        rows = {}
        for name, found in self._rows().items():
            more = ("seconds", "images_per_second", *(["median_norm"] if self._medians() else []))
            times = {column: getattr(found, column, None) for column in more}
            low, high = found.interval
            rows[name] = {
                "accuracy": found.accuracy,
                "low": low,
                "high": high,
                "num_examples": found.num_examples,
            } | times
        return pandas.DataFrame.from_dict(rows, orient="index")

    def _repr_html_(self) -> str:
        medians = self._medians()
        cells = [
            [
                name,
                f"{100 * found.accuracy:.2f} %",
                f"{100 * found.interval[0]:.2f} to {100 * found.interval[1]:.2f}",
                str(found.num_examples),
                *_speed(found),
                *([medians.get(name, "")] if medians else []),
            ]
            for name, found in self._rows().items()
        ]
        heading = ["attack", "accuracy", "95 % interval", "images", "seconds", "images/s"]
        return html_table(self.title, heading + (["median norm"] if medians else []), cells)

    def save(self, folder: PathLike) -> None:
        """Writes the results to a folder, like `folder` of `agkd_tf.evaluate`; a later evaluation can continue there.

        Args:
            folder: the folder; or the path of the record itself, which ends in `.json`.

        Raises:
            InputError: if the model is a callable without a `model_name`, which a record could not recognize.
        """
        self._record.copy_to(folder, self._keys.values())


def _speed(found: "AttackResult | AutoAttackEstimate | WorstCase") -> tuple[str, str]:
    # The worst case is derived from the results and has no run time.
    if isinstance(found, WorstCase):
        return "", ""
    return f"{round(found.seconds, 2):,.1f}", f"{round(found.images_per_second, 2):,.1f}"


def format_norm(value: float, norm: str) -> str:
    """Returns the norm of a perturbation as text: in l_inf in 255ths, `7.53/255`; in l_2 a decimal; `inf` for none."""
    if math.isinf(value):
        return "inf"
    return f"{255 * value:.2f}/255" if norm == "linf" else f"{value:.3f}"


def html_table(title: str, heading: list[str], rows: list[list[str]]) -> str:
    """Returns an HTML table for a notebook; the first column is left-aligned, the others right-aligned."""
    sides = ["left"] + ["right"] * (len(heading) - 1)

    def line(tag: str, cells: list[str]) -> str:
        each = zip(sides, cells, strict=True)
        return "".join(f'<{tag} style="text-align: {side}">{html.escape(cell)}</{tag}>' for side, cell in each)

    body = "".join(f"<tr>{line('td', cells)}</tr>" for cells in rows)
    return (
        f"<table><caption>{html.escape(title)}</caption><thead><tr>{line('th', heading)}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )
