"""Plain-text tables of benchmarks."""

from collections.abc import Mapping, Sequence
from typing import Any

from agkd_tf.benchmark import Timing, ratio
from agkd_tf.text_table import aligned


def timing_table(timings: Mapping[str, Timing], records: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns a plain-text table with one benchmark per line, and its speed relative to the first one.

    Args:
        timings: dict of title -> `agkd_tf.benchmark.Timing`, whose items are images.
        records: dict of title -> facts, times and totals for JSON; cells of missing values are left empty.
    """
    first = next(iter(timings.values()))
    rows = []
    for title, timing in timings.items():
        record = records[title]
        row = {
            "": title,
            "s/step (min-max)": f"{timing.median:.3f} ({min(timing.seconds):.3f}-{max(timing.seconds):.3f})",
            "images/s": f"{timing.items_per_second:,.1f}",
            "times the first": _spread(ratio(timing, first)),
        }
        for heading, (key, form) in _FACTS.items():
            if key in record:
                row[heading] = format(record[key], form)
        if "share_of_matrix_product" in record:
            middle, low, high = record["share_of_matrix_product"]
            row["of matrix product"] = f"{100 * middle:.0f} % ({100 * low:.0f}-{100 * high:.0f})"
        rows.append(row)
    return _filled_table(rows)


def peers_table(timings: Mapping[str, Timing], peers: Mapping[str, Timing]) -> str:
    """Returns a plain-text table of each recipe's images per second relative to each peer's.

    Each cell is the median of the rounds, with the least and the greatest in brackets.

    Args:
        timings: dict of title -> `agkd_tf.benchmark.Timing` of a recipe.
        peers: dict of title -> `Timing` of a peer, timed in the same rounds.
    """
    rows = [
        {"images/s, times the peer's": title} | {name: _spread(ratio(timing, peer)) for name, peer in peers.items()}
        for title, timing in timings.items()
    ]
    return _filled_table(rows)


def _spread(found: tuple[float, float, float]) -> str:
    middle, low, high = found
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


_FACTS = {
    "compile, s": ("compile_seconds", ".1f"),
    "peak memory, MiB": ("peak_memory_mib", ",.0f"),
    "s/epoch": ("seconds_per_epoch", ",.0f"),
    "epochs": ("epochs", "d"),
    "hours": ("hours", ",.2f"),
    "with its teacher": ("hours_with_teacher", ",.2f"),
    "GFLOP/step": ("gigaflops_per_step", ",.1f"),
    "times the minimum": ("times_the_minimum", ".5f"),
    "GFLOP/s": ("gigaflops_per_second", ",.0f"),
    "waiting for batches": ("waiting_share", ".1%"),
}


def breakdown_table(parts: Mapping[str, Mapping[str, float]]) -> str:
    """Returns a plain-text table of how the time of a step is divided.

    Args:
        parts: dict of title -> dict of part, or kind of operation, -> seconds.
    """
    rows = []
    for title, seconds in parts.items():
        total = sum(seconds.values())
        shares = {name: f"{1000 * part:,.1f} ({100 * part / total:.0f} %)" for name, part in seconds.items()}
        rows.append({"ms": title} | shares)
    return _filled_table(rows)


def _filled_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Returns a plain-text table of rows, each a dict of heading -> text; missing cells are empty."""
    headings = list(dict.fromkeys(heading for row in rows for heading in row))
    return aligned([headings, *([row.get(heading, "") for heading in headings] for row in rows)])
