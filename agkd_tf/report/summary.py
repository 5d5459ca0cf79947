"""What a comparison of runs shows, in two sentences."""

from collections.abc import Sequence

from agkd_tf.report.runs import Measurement, Run, attack_names, measurement, titles

CLEAN = "clean"
ALIKE = ("dataset", "eps", "norm")


def summary(groups: Sequence[Sequence[Run]]) -> str:
    """Returns which run resists best, whether the images can tell it from the next one, and its clean accuracy.

    A run is judged by the attack that leaves it least, of those that every run was evaluated under.

    Args:
        groups: evaluated `Run`s; those of a group differ in the seed alone.

    Returns:
        Two sentences; "" for a single group, groups of several data sets or balls, or without a common attack.
    """
    if len(groups) < 2 or any(len({str(group[0].settings.get(name)) for group in groups}) > 1 for name in ALIKE):
        return ""
    found: dict[str, list[Measurement]] = {}
    for attack in attack_names(run for group in groups for run in group):
        measured = [measurement(group, attack) for group in groups]
        if all(measured):
            found[attack] = [each for each in measured if each is not None]
    clean = found.pop(CLEAN, None)
    if not found:
        return ""
    names, places = [f'"{title}"' for title in titles(groups)], range(len(groups))
    worst = [min((each[place] for each in found.values()), key=lambda each: each.accuracy) for place in places]
    first, second, *others = sorted(places, key=lambda place: -worst[place].accuracy)
    rest = "".join(f", {names[place]} {_percent(worst[place])}" for place in others)
    text = (
        f"Under the strongest of {', '.join(found)}, {names[first]} classifies {_percent(worst[first])} of the images "
        f"right, {names[second]} {_percent(worst[second])}{rest}. "
    )
    if worst[first].low > worst[second].high:
        text += f"{names[first]} resists best: its interval is above the others'"
    else:
        text += f"The intervals of {names[first]} and {names[second]} overlap, so these images cannot tell them apart"
    if clean is not None:
        best = max(places, key=lambda place: clean[place].accuracy)
        text += f"; on clean images {names[first]} reaches {_percent(clean[first])}"
        text += "" if best == first else f", {names[best]} {_percent(clean[best])}"
    return f"{text}."


def _percent(found: Measurement) -> str:
    return f"{100 * found.accuracy:.2f} % ({100 * found.low:.1f}-{100 * found.high:.1f})"
