"""What a comparison of runs shows, in two sentences."""

from collections.abc import Sequence

from agkd_tf.report.runs import Measurement, Run, attack_names, measurement
from agkd_tf.report.tables import titles

CLEAN = "clean"


def summary(groups: Sequence[Sequence[Run]]) -> str:
    """Returns which run resists best, whether the images can tell it from the next, and what it costs on clean images.

    A run is judged by the attack that leaves it least, of those that every run was evaluated under; "" where there are
    not two such runs, or no such attack.

    Args:
        groups: lists of `Run`s that differ in the seed alone; those without an evaluation are left out.
    """
    groups = [group for group in groups if any(run.attacks for run in group)]
    attacks = [name for name in attack_names(run for group in groups for run in group) if name != CLEAN]
    found = {name: [measurement(group, name) for group in groups] for name in attacks}
    shared = {name: each for name, each in found.items() if None not in each}
    if len(groups) < 2 or not shared:
        return ""
    names, cleans = titles(groups), [measurement(group, CLEAN) for group in groups]
    worst = [min((each[place] for each in shared.values()), key=_accuracy) for place in range(len(groups))]
    first, second, *others = sorted(range(len(groups)), key=lambda place: -_accuracy(worst[place]))
    rest = "".join(f", {names[place]} {_percent(worst[place])}" for place in others)
    text = (
        f"Under the strongest of {', '.join(shared)}, {names[first]} keeps {_percent(worst[first])} of the images, "
        f"{names[second]} {_percent(worst[second])}{rest}. "
    )
    ahead, next_one = worst[first], worst[second]
    assert ahead is not None and next_one is not None
    if ahead.low > next_one.high:
        text += f"So {names[first]} resists best: the intervals are apart"
    else:
        text += f"The intervals of {names[first]} and {names[second]} overlap: these images do not tell which is better"
    if None not in cleans:
        best = max(range(len(groups)), key=lambda place: _accuracy(cleans[place]))
        text += f"; on clean images {names[first]} reaches {_percent(cleans[first])}" + (
            f", {names[best]} {_percent(cleans[best])}" if best != first else ", the most"
        )
    return f"{text}."


def _accuracy(found: Measurement | None) -> float:
    return -1.0 if found is None else found.accuracy


def _percent(found: Measurement | None) -> str:
    assert found is not None
    return f"{100 * found.accuracy:.1f} % ({100 * found.low:.1f}-{100 * found.high:.1f})"
