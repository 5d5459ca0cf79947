"""The supplement's tables, filled from runs: measured, published, difference."""

import dataclasses
import pathlib
import shlex

import pandas

from agkd_tf.perturbation_size import format_size
from agkd_tf.report.published import PublishedRow
from agkd_tf.report.runs import Measurement, attack_names, cost, measurement


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
        wanted = table.also is not None and group not in shown and _matches(group[0].settings, table.also)
        if wanted and any(_cell(group, column, table.eps) is not None for column in table.columns):
            rows.append((PublishedRow(title, {}, "", {}), [group]))
    for row, matching in rows:
        for group in matching or [[]]:
            title = row.title if len(matching) < 2 else f"{row.title} ({group[0].path})"
            cells = {column: _cell(group, column, table.eps) for column in table.columns}
            empty = [column for column, cell in cells.items() if cell is None]
            missing += [f"{title}: {command}" for command in _commands(table, group, row.recipe, empty)]
            if group:
                notes.append(f"{title}: {measured_on(group)}")
            for source in _sources(row.figures):
                index.append((title, source))
                comparable = source != "difference" or (group and group[0].settings["dataset"] == table.dataset)
                figures = row.figures if comparable else {}
                lines.append([_text(source, cells[column], figures.get(column)) for column in table.columns])
    index = pandas.MultiIndex.from_tuples(index)
    frame = pandas.DataFrame(lines, index=index, columns=list(table.columns.values()))
    return FilledTable(f"Table {table.number}: {table.title}", frame, missing, notes)


def comparison(groups, columns=None):
    """Returns the `FilledTable` of all groups that were evaluated side by side, without published figures.

    Args:
        groups: lists of `Run`s.
        columns: attacks to show; None for all that any run has.
    """
    groups = [group for group in groups if any(run.attacks for run in group)]
    if columns is None:
        columns = attack_names(run for group in groups for run in group)
    titles = _titles(groups)
    lines = [[_text("measured", measurement(group, column), None) for column in columns] for group in groups]
    frame = pandas.DataFrame(lines, index=titles, columns=columns)
    notes = [f"{title}: {measured_on(group)}" for title, group in zip(titles, groups, strict=True)]
    return FilledTable("All runs", frame, [], notes)


def measured_on(group):
    """Returns a line: network, data, training images, epochs, batch size, seeds, machines."""
    settings = group[0].settings
    images = f"first {settings['train_examples']:,}" if settings["train_examples"] else "all"
    seeds = ", ".join(dict.fromkeys(str(run.settings["seed"]) for run in group))
    environments = [run.environment for run in group] + [run.cost["environment"] for run in group if run.cost]
    machines = dict.fromkeys(_machine(environment or {}) for environment in environments)
    return (
        f"{settings['model']}, {settings['dataset']}, {images} training images, {settings['epochs']} epochs, "
        f"batch {settings['batch_size']}, seed {seeds}, {' and '.join(machines)}"
    )


def _machine(environment):
    if environment.get("accelerators"):
        return ", ".join(environment["accelerators"])
    count = environment.get("cores")
    cores = "" if count is None else f", {count} core{'s' * (count > 1)}"
    return environment.get("processor", "an unrecorded machine") + cores


def _titles(groups):
    names = [group[0].path.rstrip("/").rpartition("/")[2] for group in groups]
    return names if len(set(names)) == len(names) else [group[0].path for group in groups]


def _matches(settings, match):
    return all(settings.get(name) == value for name, value in match.items())


def _cell(group, column, eps):
    """Returns a `Measurement`, a number for a column of costs, or None."""
    return cost(group, column.partition(" ")[2]) if _is_cost(column) else measurement(group, column, eps=eps)


def _sources(figures):
    """Returns the sources that a row of these published figures has a line for."""
    # A difference to another machine's time would say nothing.
    return [
        "measured",
        *(["published"] if figures else []),
        *(["difference"] if any(not _is_cost(column) for column in figures) else []),
    ]


def _is_cost(column):
    return column.startswith("cost ")


def _commands(table, group, recipe, columns):
    """Returns the commands that would fill columns of a row: of its runs, or of its recipe where there are none."""
    origin = shlex.quote(group[0].path) if group else recipe
    workdir = next((run.path for run in group if run.attacks), None)
    attacks, commands = {}, []
    for column in columns:
        kind, _, name = column.partition(" ")
        if not _is_cost(column):
            attacks[f"transfer:{_workdir(table, name)}" if kind == "transfer" else kind] = None
    if attacks and workdir is None:
        workdir = _workdir(table, pathlib.PurePath(recipe).stem if recipe else pathlib.PurePath(group[0].path).name)
        commands.append(f"python -m tools.train --flagfile={recipe or origin + '/flags.txt'} --workdir={workdir}")
    if attacks:
        more = "" if table.eps is None else f" --eps={format_size(table.eps)}"
        more += " --knn" if any(" knn-" in column for column in columns) else ""
        listed = shlex.quote(",".join(attacks))
        commands.append(f"python -m tools.evaluate --workdir={shlex.quote(workdir)} --attacks={listed}{more}")
    if any(map(_is_cost, columns)):
        commands.append(f"python -m tools.benchmark training {origin} --output=runs/cost")
    return commands


def _workdir(table, name):
    """Returns the folder of a run that one of the table's recipes has, or a neighbor of theirs."""
    recipes = pathlib.PurePath(table.rows[0].recipe).parent.name
    return f"runs/{recipes}/{name}"


def _text(source, measured, published):
    if source == "published":
        return "" if published is None else _number(published)
    if measured is None:
        return ""
    if not isinstance(measured, Measurement):
        return _number(measured) if source == "measured" else ""
    value = 100 * measured.accuracy
    if source == "difference":
        return "" if published is None else f"{value - published:+.2f}"
    spread = f" ± {100 * measured.spread:.2f}" if measured.seeds > 1 else ""
    more = f", {measured.seeds} seeds" if measured.seeds > 1 else ""
    more += "" if measured.whole else f", first {measured.num_examples}"
    return f"{value:.2f}{spread} ({100 * measured.low:.1f}-{100 * measured.high:.1f}{more})"


def _number(value):
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"
