"""The supplement's tables, filled from runs: measured, published, difference."""

import dataclasses
import shlex

import pandas

from agkd_tf.report.published import PublishedRow
from agkd_tf.report.runs import attack_names, measurement

SOURCES = ("measured", "published", "difference")


@dataclasses.dataclass(frozen=True)
class FilledTable:
    """A table to show.

    Attributes:
        heading: number and title.
        frame: `pandas.DataFrame` of text, indexed by (row, source).
        missing: a line for each cell that no run fills: the command that would.
        notes: a line for each group of runs: what it was measured on.
    """

    heading: str
    frame: pandas.DataFrame
    missing: list
    notes: list


def filled_table(table, groups):
    """Returns the `FilledTable` of a `PublishedTable`, its rows' groups found by their settings.

    Groups that are in no row of the table, nor in its `also`, are left out.

    Args:
        table: `PublishedTable`.
        groups: lists of `Run`s (see `grouped`).
    """
    lines, index, missing, notes = [], [], [], []
    rows = [(row, [group for group in groups if _matches(group[0].settings, row.match)]) for row in table.rows]
    shown = [group for _, matching in rows for group in matching]
    for title, group in zip(_titles(groups), groups, strict=True):
        if table.also is not None and group not in shown and _matches(group[0].settings, table.also):
            rows.append((PublishedRow(title, {}, "", {}), [group]))
    for row, matching in rows:
        if not matching:
            missing.append(f"{row.title}: python -m tools.train --flagfile={row.recipe} --workdir=runs/...")
        for group in matching or [[]]:
            title = row.title if len(matching) < 2 else f"{row.title} ({group[0].path})"
            cells = {column: measurement(group, column) for column in table.columns}
            empty = [column for column, cell in cells.items() if cell is None]
            if group:
                notes.append(f"{title}: {measured_on(group)}")
                if empty:
                    missing.append(f"{title}: {_command(group[0], empty)}")
            for source in SOURCES if row.figures else SOURCES[:1]:
                index.append((title, source))
                comparable = source != "difference" or (group and group[0].settings["dataset"] == table.dataset)
                figures = row.figures if comparable else {}
                lines.append([_text(source, cells[column], figures.get(column)) for column in table.columns])
    index = pandas.MultiIndex.from_tuples(index)
    frame = pandas.DataFrame(lines, index=index, columns=list(table.columns.values()))
    return FilledTable(f"Table {table.number}: {table.title}", frame, missing, notes)


def comparison(groups, columns=None):
    """Returns the `FilledTable` of all groups side by side, without published figures.

    Args:
        groups: lists of `Run`s.
        columns: attacks to show; None for all that any run has.
    """
    if columns is None:
        columns = attack_names(run for group in groups for run in group)
    titles = _titles(groups)
    lines = [[_text("measured", measurement(group, column), None) for column in columns] for group in groups]
    frame = pandas.DataFrame(lines, index=titles, columns=columns)
    notes = [f"{title}: {measured_on(group)}" for title, group in zip(titles, groups, strict=True)]
    return FilledTable("All runs", frame, [], notes)


def measured_on(group):
    """Returns a line: network, data, training images, epochs, seeds, machine."""
    settings = group[0].settings
    images = f"first {settings['train_examples']:,}" if settings["train_examples"] else "all"
    seeds = ", ".join(str(run.settings["seed"]) for run in group)
    machine = group[0].environment or {}
    device = ", ".join(machine.get("accelerators", ())) or machine.get("processor", "an unrecorded machine")
    return (
        f"{settings['model']}, {settings['dataset']}, {images} training images, {settings['epochs']} epochs, "
        f"seed {seeds}, {device}"
    )


def _titles(groups):
    names = [group[0].path.rstrip("/").rpartition("/")[2] for group in groups]
    return names if len(set(names)) == len(names) else [group[0].path for group in groups]


def _matches(settings, match):
    return all(settings.get(name) == value for name, value in match.items())


def _command(run, columns):
    attacks = dict.fromkeys(column.partition(" ")[0] for column in columns if not column.startswith("transfer "))
    attacks |= dict.fromkeys(
        f"transfer:runs/{column.partition(' ')[2]}" for column in columns if column.startswith("transfer ")
    )
    knn = " --knn" if any(" knn-" in column for column in columns) else ""
    return f"python -m tools.evaluate --workdir={shlex.quote(run.path)} --attacks={','.join(attacks)}{knn}"


def _text(source, measured, published):
    if source == "published":
        return "" if published is None else f"{published:.2f}"
    if measured is None:
        return ""
    value = 100 * measured.accuracy
    if source == "difference":
        return "" if published is None else f"{value - published:+.2f}"
    more = f", {measured.seeds} seeds" if measured.seeds > 1 else ""
    more += "" if measured.whole else f", first {measured.num_examples}"
    return f"{value:.2f} ({100 * measured.low:.1f}-{100 * measured.high:.1f}{more})"
