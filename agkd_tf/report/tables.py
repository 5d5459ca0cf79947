"""The supplement's tables, filled from runs: measured, published, difference."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas

from agkd_tf.perturbation_size import format_size
from agkd_tf.report.missing import Evaluate, MeasureCost, Missing, Train, Work
from agkd_tf.report.published import PublishedRow, PublishedTable
from agkd_tf.report.runs import Duration, Measurement, Run, attack_names, cost, images_seen, measurement

#: Runs that are one row: they differ in the seed alone.
Group = Sequence[Run]
Rows = list[tuple[PublishedRow, list[Group]]]
Cell = Measurement | Duration | float | str | None


@dataclasses.dataclass(frozen=True)
class FilledTable:
    """A table to show.

    Attributes:
        heading: number and title.
        frame: `pandas.DataFrame` of text, indexed by (row, source).
        missing: the work that would fill what is empty, and what a seed lacks that others of its row have.
        notes: a line for each group of runs: what it was measured on.
    """

    heading: str
    frame: pandas.DataFrame
    missing: list[Missing]
    notes: list[str]

    def markdown(self, describe: Callable[[Work], str] = str) -> str:
        """Returns it as Markdown, with its notes.

        Args:
            describe: what it says of work that fills empty cells, such as the command that does it.
        """
        frame = self.frame.reset_index(names=["", " "][: self.frame.index.nlevels])
        lines = [f"## {self.heading}", "", frame.to_markdown(index=False, disable_numparse=True)]
        if self.notes:
            lines += ["", *(f"- {note}" for note in self.notes)]
        if self.missing:
            lines += ["", "To fill what is empty:", ""]
            lines += [f"    {missing.row}: {describe(missing.work)}" for missing in self.missing]
        return "\n".join(lines)

    def latex(self) -> str:
        """Returns it as LaTeX, with its notes as comments."""
        # LaTeX puts "Table" and a number of its own before the caption.
        number, _, title = self.heading.partition(": ")
        text = self.frame.to_latex(escape=True, caption=title or number)
        notes = "".join(f"% {note}\n" for note in self.notes)
        return f"% {self.heading}\n% needs \\usepackage{{booktabs,multirow}}\n{notes}{text}"


def filled_table(table: PublishedTable, groups: Sequence[Group]) -> FilledTable:
    """Returns the `FilledTable` of a `PublishedTable`, its rows' groups found by their settings.

    Groups that are in no row of the table, nor in its `also`, are left out. Those on another data set than the table's
    are shown, and called so, where none is on it.

    Args:
        table: `PublishedTable`.
        groups: lists of `Run`s (see `grouped`).
    """
    lines, index, missing, notes = [], [], [], []
    rows = [(row, [group for group in groups if _matches(group[0].settings, row.match)]) for row in table.rows]
    of_rows = [group for _, matching in rows for group in matching]
    for title, group in zip(_titles(groups), groups, strict=True):
        if group not in of_rows and _is_also(table, group):
            rows.append((PublishedRow(title, {}, "", {}), [group]))
    rows = _of_its_data(table, rows)
    for row, matching in rows:
        for group in matching or [[]]:
            title = row.title if len(matching) < 2 else f"{row.title} ({group[0].path})"
            stands_in = bool(group) and not _is_on(table, group)
            if stands_in:
                title += f" (on {group[0].settings['dataset']})"
            cells = {column: _cell(group, column, table.eps) for column in table.columns}
            missing += [Missing(title, work) for work in _work(table, group, row.recipe)]
            if stands_in and row.recipe:
                missing += [Missing(row.title, work) for work in _work(table, [], row.recipe)]
            if any(cell is not None for cell in cells.values()):
                notes.append(f"{title}: {measured_on(group)}")
            for source in _sources(row.figures):
                index.append((title, source))
                figures = {} if stands_in and source == "difference" else row.figures
                lines.append([_text(source, cells[column], figures.get(column)) for column in table.columns])
    missing = list(dict.fromkeys([*_sources_to_train(table, missing), *missing]))
    index = pandas.MultiIndex.from_tuples(index)
    frame = pandas.DataFrame(lines, index=index, columns=list(table.columns.values()))
    return FilledTable(f"Table {table.number}: {table.title}", frame, missing, notes)


def comparison(groups: Sequence[Group], columns: Sequence[str] | None = None) -> FilledTable:
    """Returns the `FilledTable` of all evaluated groups side by side, without published figures.

    Args:
        groups: lists of `Run`s.
        columns: attacks to show; None for all that any run has.
    """
    missing = [
        Missing(run.path, Evaluate(run.path)) for group in groups for run in group if run.trained and not run.attacks
    ]
    groups = [group for group in groups if any(run.attacks for run in group)]
    if columns is None:
        columns = attack_names(run for group in groups for run in group)
    titles = _titles(groups)
    lines = [[_text("measured", measurement(group, column), None) for column in columns] for group in groups]
    frame = pandas.DataFrame(lines, index=titles, columns=columns)
    missing += [each for group in groups for run in group if run.attacks for each in _lacking(run, columns)]
    notes = [f"{title}: {measured_on(group)}" for title, group in zip(titles, groups, strict=True)]
    return FilledTable("All runs", frame, missing, notes)


def _lacking(run: Run, columns: Sequence[str]) -> list[Missing]:
    """Returns what fills an evaluated run's empty cells: one evaluation, and one for each attack on a source."""
    attacks: dict[str, list[str]] = {}
    for column in columns:
        if measurement([run], column) is None:
            name, _, crafted = column.partition(" by ") if column.startswith("transfer:") else (column, "", "")
            attacks.setdefault(crafted, []).append(name)
    return [
        Missing(run.path, Evaluate(run.path, tuple(names), transfer_attack=crafted))
        for crafted, names in attacks.items()
    ]


def measured_on(group: Group) -> str:
    """Returns a line: network, data, images, epochs, batch size, the ball if it is not of l_inf, seeds, machines."""
    settings = group[0].settings
    images = f"first {settings['train_examples']:,}" if settings["train_examples"] else "all"
    seeds = ", ".join(dict.fromkeys(str(run.settings["seed"]) for run in group))
    environments = [run.environment for run in group] + [run.cost["environment"] for run in group if run.cost]
    machines = dict.fromkeys(_machine(environment or {}) for environment in environments)
    tested = "".join(f", {count:,} test images" for count in images_seen(group))
    norm = settings.get("norm", "linf")
    ball = "" if norm == "linf" else f"{norm} eps {format_size(settings['eps'])}, "
    return (
        f"{settings['model']}, {settings['dataset']}, {images} training images, {settings['epochs']} epochs, "
        f"batch {settings['batch_size']}, {ball}seed {seeds}{tested}, {' and '.join(machines)}"
    )


def _machine(environment: Mapping[str, Any]) -> str:
    if environment.get("accelerators"):
        return ", ".join(environment["accelerators"])
    count = environment.get("cores")
    cores = "" if count is None else f", {count} core{'s' * (count > 1)}"
    return environment.get("processor", "an unrecorded machine") + cores


def _titles(groups: Sequence[Group]) -> list[str]:
    names = [group[0].path.rstrip("/").rpartition("/")[2] for group in groups]
    return names if len(set(names)) == len(names) else [group[0].path for group in groups]


def _matches(settings: Mapping[str, Any], match: Mapping[str, Any]) -> bool:
    # All that was published is of l_inf; what an earlier version recorded says no norm.
    return all(settings.get(name) == value for name, value in match.items()) and settings.get("norm", "linf") == "linf"


def _is_also(table: PublishedTable, group: Group) -> bool:
    """Returns whether a group that is in no row is shown below them."""
    wanted = table.also is not None and _matches(group[0].settings, table.also)
    return wanted and any(_cell(group, column, table.eps) is not None for column in table.columns)


def _is_on(table: PublishedTable, group: Group) -> bool:
    return group[0].settings["dataset"] == table.dataset


def _of_its_data(table: PublishedTable, rows: Rows) -> Rows:
    """Returns the rows with the groups on the table's data set alone, or all as they are where no group is."""
    if not any(_is_on(table, group) for _, matching in rows for group in matching):
        return rows
    kept = [(row, [group for group in matching if _is_on(table, group)]) for row, matching in rows]
    return [(row, matching) for row, matching in kept if matching or row.recipe]


def _cell(group: Group, column: str, eps: float | None) -> Cell:
    """Returns a `Measurement`; a `Duration`, a number or text for a column of costs; or None."""
    return cost(group, column.partition(" ")[2]) if _is_cost(column) else measurement(group, column, eps=eps)


def _sources(figures: Iterable[str]) -> list[str]:
    """Returns the sources that a row of these published figures has a line for."""
    # A difference to another machine's time would say nothing.
    return [
        "measured",
        *(["published"] if figures else []),
        *(["difference"] if any(not _is_cost(column) for column in figures) else []),
    ]


def _is_cost(column: str) -> bool:
    return column.startswith("cost ")


def _work(table: PublishedTable, group: Group, recipe: str) -> list[Work]:
    """Returns the work that would fill a row's empty cells, seed by seed: of its runs, or of its recipe."""
    origin = group[0].path if group else recipe
    costs = [column for column in table.columns if _is_cost(column)]
    accuracies = [column for column in table.columns if not _is_cost(column)]
    trained = [run for run in group if run.attacks or run.trained]
    work: list[Work] = []
    for run in trained:
        lacking = [column for column in accuracies if measurement([run], column, eps=table.eps) is None]
        work += _evaluation(table, run.path, lacking)
    if accuracies and not trained:
        workdir = _workdir(table, pathlib.PurePath(recipe).stem if recipe else pathlib.PurePath(group[0].path).name)
        work.append(Train(recipe or f"{origin}/flags.txt", workdir))
        work += _evaluation(table, workdir, accuracies)
    if any(_cell(group, column, table.eps) is None for column in costs):
        work.append(MeasureCost(origin))
    return work


def _evaluation(table: PublishedTable, workdir: str, columns: Sequence[str]) -> list[Evaluate]:
    """Returns the evaluation, if any, that fills a run's columns."""
    if not columns:
        return []
    attacks: dict[str, None] = {}
    for column in columns:
        kind, _, name = column.partition(" ")
        attacks[f"transfer:{_workdir(table, name)}" if kind == "transfer" else kind] = None
    return [Evaluate(workdir, tuple(attacks), table.eps, knn=any(" knn-" in column for column in columns))]


def _sources_to_train(table: PublishedTable, missing: Iterable[Missing]) -> list[Missing]:
    """Returns the trainings of sources of adversaries that evaluations need and that are not there yet."""
    names = [column.removeprefix("transfer ") for column in table.columns if column.startswith("transfer ")]
    recipes = pathlib.PurePath(table.rows[0].recipe).parent
    evaluations = [each.work for each in missing if isinstance(each.work, Evaluate)]
    return [
        Missing(name, Train(f"{recipes / name}.flags", _workdir(table, name)))
        for name in names
        if any(f"transfer:{_workdir(table, name)}" in evaluation.attacks for evaluation in evaluations)
        and not pathlib.Path(_workdir(table, name)).exists()
    ]


def _workdir(table: PublishedTable, name: str) -> str:
    """Returns the folder of a run that one of the table's recipes has, or a neighbor of theirs."""
    recipes = pathlib.PurePath(table.rows[0].recipe).parent.name
    return f"runs/{recipes}/{name}"


def _text(source: str, measured: Cell, published: str | None) -> str:
    if source == "published":
        return published or ""
    if measured is None:
        return ""
    if isinstance(measured, Duration):
        ends = f" ({_number(measured.least)}-{_number(measured.most)})"
        return _number(measured.seconds) + ends if source == "measured" else ""
    if not isinstance(measured, Measurement):
        return _number(measured) if source == "measured" else ""
    value = 100 * measured.accuracy
    if source == "difference":
        return "" if published is None else f"{value - float(published):+.2f}"
    spread = "" if measured.spread is None else f" ± {100 * measured.spread:.2f}"
    more = f", {measured.seeds} seeds" if measured.seeds > 1 else ""
    more += "" if measured.whole else f", first {measured.num_examples}"
    return f"{value:.2f}{spread} ({100 * measured.low:.1f}-{100 * measured.high:.1f}{more})"


def _number(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"
