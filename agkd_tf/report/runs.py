"""Runs as a report sees them: what defined them, what was measured, which differ in the seed alone."""

import collections
import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scipy.stats import t

from agkd_tf.evaluation import Key, read_evaluation
from agkd_tf.files import read_json
from agkd_tf.training.recipe_file import read_recipe
from agkd_tf.types import PathLike
from agkd_tf.workdir import Workdir

# Settings that say where something is; what a run is, is only whether they are given.
PLACES = ("teacher", "init_from")


@dataclasses.dataclass(frozen=True)
class Run:
    """One run: trained, evaluated, measured in time, or on its way there.

    Attributes:
        path: its folder, as given.
        settings: what defined it (see `Recipe.settings`).
        attacks: results by name (see `agkd_tf.evaluation.read_evaluation`); empty before an evaluation.
        environment: machine and versions of its first session, or None.
        cost: of its training (see `agkd_tf.benchmark.Cost.record`), or None.
        trained: whether there is a student to evaluate.
    """

    path: str
    settings: Mapping[str, Any]
    attacks: Mapping[str, Any]
    environment: Mapping[str, Any] | None = None
    cost: Mapping[str, Any] | None = None
    trained: bool = False


def read_run(path: PathLike) -> Run:
    """Returns the `Run` in a folder, that of a training or that of a benchmark.

    Raises:
        InputError: if there is none, or a file of it is damaged.
    """
    workdir = Workdir(path)
    settings = read_recipe(workdir.flags).settings()
    attacks = read_evaluation(workdir.evaluation)["attacks"] if workdir.evaluation.is_file() else {}
    sessions = read_json(workdir.environment, list) if workdir.environment.is_file() else []
    cost = read_json(workdir.cost, dict) if workdir.cost.is_file() else None
    environment = sessions[0] if sessions else (cost or {}).get("environment")
    return Run(str(path), settings, attacks, environment, cost, trained=workdir.student.is_file())


@dataclasses.dataclass(frozen=True)
class Measurement:
    """An accuracy.

    Attributes:
        accuracy: mean over seeds, in [0, 1].
        low, high: 95 % interval: of one seed, Wilson's over images; of several, Student's over the seeds, within
            [0, 1].
        num_examples: images.
        whole: whether these are all of the split.
        seeds: runs that it is a mean of.
        spread: standard deviation over seeds, or None.
    """

    accuracy: float
    low: float
    high: float
    num_examples: int
    whole: bool = True
    seeds: int = 1
    spread: float | None = None


@dataclasses.dataclass(frozen=True)
class Duration:
    """Seconds of an epoch.

    Attributes:
        seconds, least, most: if each step were the median, the fastest, the slowest one.
    """

    seconds: float
    least: float
    most: float


def grouped(runs: Iterable[Run]) -> list[list[Run]]:
    """Returns lists of runs that differ in nothing but the seed, in the order in which they were given.

    Where several evaluated runs share a seed, such as a run and its copy, each list has one of them.
    """
    groups: dict[tuple[Any, int], list[Run]] = {}
    evaluated: collections.Counter[Any] = collections.Counter()
    for run in runs:
        recipe = tuple(sorted((name, str(_of_recipe(name, value))) for name, value in run.settings.items()))
        seed = (recipe, run.settings["seed"])
        groups.setdefault((recipe, evaluated[seed] if run.attacks else 0), []).append(run)
        evaluated[seed] += bool(run.attacks)
    return list(groups.values())


def titles(groups: Sequence[Sequence[Run]]) -> list[str]:
    """Returns what each group of runs is called: the name of its folder, or the path where two have one name."""
    names = [group[0].path.rstrip("/").rpartition("/")[2] for group in groups]
    return names if len(set(names)) == len(names) else [group[0].path for group in groups]


def measurement(group: Sequence[Run], column: str, *, eps: float | None = None) -> Measurement | None:
    """Returns the `Measurement` of a column (see `PublishedTable.columns`) over a group of runs, or None.

    The result on all images of the split counts; where there is none, the one on the most images.

    Args:
        group: `Run`s.
        column: what is measured.
        eps: radius of the l_inf ball of the attacks; None for the runs' own.
    """
    found = [record for record in (_record(run, column, eps) for run in group) if record is not None]
    if not found:
        return None
    accuracies = [record["accuracy"] for _, record in found]
    count, whole = min(record["num_examples"] for _, record in found), all(whole for whole, _ in found)
    if len(found) == 1:
        low, high = found[0][1]["confidence_interval_95"]
        return Measurement(accuracies[0], low, high, count, whole)
    mean, spread = statistics.fmean(accuracies), statistics.stdev(accuracies)
    error = t.ppf(0.975, len(found) - 1) * spread / math.sqrt(len(found))
    return Measurement(mean, max(mean - error, 0.0), min(mean + error, 1.0), count, whole, len(found), spread)


def cost(group: Sequence[Run], name: str) -> Duration | float | str | None:
    """Returns a fact of what the training of a group of runs costs, or None where it was not measured.

    The seconds of an epoch are a `Duration`.

    Args:
        group: `Run`s of one recipe; the first that was measured counts.
        name: an entry of `agkd_tf.benchmark.Cost.record`, `attack_steps` or `platform`.
    """
    measured = next(((run.settings, run.cost) for run in group if run.cost is not None), None)
    if measured is None:
        return None
    settings, record = measured
    if name == "seconds_per_epoch":
        ends = (record[f"{end}_step_seconds"] * record["steps_per_epoch"] for end in ("min", "max"))
        return Duration(record[name], *ends)
    return {"attack_steps": settings.get("attack_steps", 0), "platform": "TensorFlow", **record}[name]


def images_seen(group: Sequence[Run]) -> list[int]:
    """Returns the numbers of images, in order, of the runs' results on all test images."""
    found = set()
    for text, record in (item for run in group for item in run.attacks.items()):
        key = Key.read(text)
        if key.count is None and key.split == "test":
            found.add(record["num_examples"])
    return sorted(found)


def attack_names(runs: Iterable[Run]) -> list[str]:
    """Returns the attacks that any of the runs was evaluated under as it is, on all images or the first ones."""
    found = (_key(text, run) for run in runs for text in run.attacks)
    return list(dict.fromkeys(key.attack for key in found if _is_plain(key) and key.eps is None))


def _of_recipe(name: str, value: Any) -> Any:
    """Returns what a setting says about a run's recipe."""
    if name == "seed":
        return None
    return value is not None if name in PLACES else value


def _key(text: str, run: Run) -> Key:
    """Returns the `Key` of a result; the run's own ball is None, however it is written."""
    key = Key.read(text)
    is_own = (key.norm, key.eps) == (run.settings.get("norm", "linf"), run.settings.get("eps"))
    return dataclasses.replace(key, norm=None, eps=None) if is_own else key


def _is_plain(key: Key) -> bool:
    """Returns whether a result is of test images, seed 0 and adversaries that are not rounded."""
    return dataclasses.replace(key, attack="", norm=None, eps=None, count=None) == Key("")


def _record(run: Run, column: str, eps: float | None) -> tuple[bool, Mapping[str, Any]] | None:
    """Returns (whether it is of all images, the result), or None."""
    attack, _, detail = column.partition(" ")
    if attack != "transfer" and not detail.startswith("knn-"):  # the name of a transferred attack has spaces
        attack, detail = column, ""
    is_own = eps is None or ("linf", eps) == (run.settings.get("norm", "linf"), run.settings["eps"])
    ball = (None, None) if is_own else ("linf", eps)
    # Without a perturbation the ball does not matter.
    allowed = ((None, None), ball) if attack == "clean" else (ball,)
    candidates = []
    for text, record in run.attacks.items():
        key = _key(text, run)
        if _is_plain(key) and (key.norm, key.eps) in allowed and _is_attack(key.attack, attack, detail):
            found = record.get(detail) if detail.startswith("knn-") else record
            if found is not None:
                candidates.append((key.count is None, found["num_examples"], found))
    if not candidates:
        return None
    whole, _, found = max(candidates, key=lambda candidate: candidate[:2])
    return whole, found


def _is_attack(name: str, attack: str, detail: str) -> bool:
    if attack == "transfer":
        return name.startswith("transfer:") and name.rstrip("/").rpartition("/")[2] == detail
    return name == attack
