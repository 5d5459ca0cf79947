"""What a comparison of runs shows, in two sentences."""

from collections.abc import Sequence

from agkd_tf.report.runs import Measurement, Run, attack_names, measurement, titles

CLEAN = "clean"
# Settings, with what an early run that does not record them had: without these alike, accuracies do not compare at all.
ALIKE = {"dataset": None, "eps": None, "norm": "linf"}
# Settings of which a difference is told.
TOLD = {"model": "networks", "train_examples": "training images", "epochs": "epochs"}


def summary(groups: Sequence[Sequence[Run]]) -> str:
    """Returns which run resists best, whether the images can tell it from the next one, and its clean accuracy.

    A run is judged by the attack that leaves it least, of those that every run was evaluated under, on as many images.

    Args:
        groups: evaluated `Run`s; those of a group differ in the seed alone.

    Returns:
        Two sentences; "" for a single group, groups of several data sets or balls, or without a common attack.
    """
    settings = [group[0].settings for group in groups]
    if len(groups) < 2 or not comparable(groups):
        return ""
    found: dict[str, list[Measurement]] = {}
    for attack in attack_names(run for group in groups for run in group):
        measured = [measurement(group, attack) for group in groups]
        if all(measured) and len({each.num_examples for each in measured if each is not None}) == 1:
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
    rival = max((place for place in places if place != first), key=lambda place: worst[place].high)
    if worst[first].low > worst[rival].high:
        text += f"{names[first]} resists best: its interval is above the others'"
    else:
        text += f"The intervals of {names[first]} and {names[rival]} overlap, so these results cannot tell them apart"
    if clean is not None:
        best = max(places, key=lambda place: clean[place].accuracy)
        text += f"; on clean images {names[first]} reaches {_percent(clean[first])}"
        text += "" if best == first else f", {names[best]} {_percent(clean[best])}"
    told = [what for name, what in TOLD.items() if len({str(each.get(name)) for each in settings}) > 1]
    if told:
        text += f"; mind that these runs have different {' and '.join(told)}"
    return f"{text}."


def comparable(groups: Sequence[Sequence[Run]]) -> bool:
    """Returns whether the accuracies of groups of runs compare: the same data set and ball."""
    settings = [group[0].settings for group in groups]
    return all(len({str(each.get(name, usual)) for each in settings}) <= 1 for name, usual in ALIKE.items())


def _percent(found: Measurement) -> str:
    return f"{100 * found.accuracy:.2f} % ({100 * found.low:.1f}-{100 * found.high:.1f})"
