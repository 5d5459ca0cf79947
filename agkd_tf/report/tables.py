"""The supplement's tables, filled from runs: measured, published, difference."""

import dataclasses
import itertools
import pathlib
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas

from agkd_tf.perturbation_size import format_size
from agkd_tf.report.missing import Evaluate, MeasureCost, Missing, Train, Work
from agkd_tf.report.published import PublishedRow, PublishedTable
from agkd_tf.report.runs import Duration, Measurement, Run, attack_names, cost, images_seen, measurement, titles
from agkd_tf.report.summary import summary

#: Runs that are one row: they differ in the seed alone.
Group = Sequence[Run]
Rows = list[tuple[PublishedRow, list[Group]]]
Cell = Measurement | Duration | float | str | None


@dataclasses.dataclass(frozen=True)
class FilledTable:
    """A table to show.

    Attributes:
        heading: number and title.
        frame: `pandas.DataFrame` of text, all of it, indexed by (row, source), or by row where nothing was published.
        missing: the work that would fill what is empty, and what a seed lacks that others of its row have.
        notes: a line for each group of runs: what it was measured on; and why it has no difference, where it has none.
        summary: what it shows, in two sentences; "" where it does not compare runs.
    """

    heading: str
    frame: pandas.DataFrame
    missing: list[Missing]
    notes: list[str]
    summary: str = ""

    @property
    def name(self) -> str:
        """Its heading without the title, such as Table 4b."""
        return self.heading.partition(":")[0]

    @property
    def has_published(self) -> bool:
        """Whether published figures stand in it."""
        return self.frame.index.nlevels == 2

    @property
    def measured(self) -> pandas.DataFrame:
        """The rows that a run has figures for."""
        return self.frame[self._filled()]

    @property
    def unmeasured(self) -> pandas.DataFrame:
        """The published figures of the rows that no run has figures for, indexed by row."""
        rest = self.frame[[not filled for filled in self._filled()]]
        if not self.has_published:
            return rest
        return rest[rest.index.get_level_values(1) == "published"].droplevel(1)

    def _filled(self) -> list[bool]:
        """Returns for each line whether its row has a measured figure."""
        if not self.has_published:
            return [True] * len(self.frame)
        # Each row begins with its line of measured figures.
        filled: list[bool] = []
        for (_, source), cells in zip(self.frame.index, self.frame.to_numpy(), strict=True):
            filled.append(any(cells) if source == "measured" else filled[-1])
        return filled

    def left_out(self) -> str:
        """Returns a line that counts the rows that no run has figures for; "" where each has some."""
        count = len(self.unmeasured)
        return f"{count} published row{'s' * (count != 1)} without a run of yours" if count else ""

    def commands(self, describe: Callable[[Work], str] = str) -> str:
        """Returns what fills its empty cells: a line for each piece of work, the row above it as a shell's comment.

        Args:
            describe: what it says of work that fills empty cells, such as the command that does it.
        """
        lines: list[str] = []
        for row, works in itertools.groupby(self.missing, key=lambda missing: missing.row):
            lines += [f"# {row}", *(describe(missing.work) for missing in works)]
        return "\n".join(lines)

    def markdown(self, describe: Callable[[Work], str] = str, *, fold: bool = False) -> str:
        """Returns it as Markdown, with its notes; published rows that no run has figures for are left out.

        Args:
            describe: what it says of work that fills empty cells, such as the command that does it.
            fold: whether to put those rows, and what would fill empty cells, into blocks that open at a click, as
                Markdown's viewers show it; otherwise the rows are counted and the rest stands below, as a terminal
                shows it.
        """
        measured, left_out = self.measured, self.left_out()
        lines = [f"## {self.heading}"]
        if len(measured):
            lines += ["", _markdown(measured)]
        if self.summary:
            lines += ["", self.summary]
        if self.notes:
            lines += ["", *(f"- {note}" for note in self.notes)]
        if left_out and fold:
            lines += _folded(left_out, _markdown(self.unmeasured))
        elif left_out:
            lines += ["", f"{left_out}: {'; '.join(self.unmeasured.index)}."]
        if self.missing and fold:
            lines += _folded("To fill what is empty", f"```sh\n{self.commands(describe)}\n```")
        elif self.missing:
            lines += ["", "To fill what is empty:", "", textwrap.indent(self.commands(describe), " " * 4)]
        return "\n".join(lines)

    def latex(self) -> str:
        """Returns it as LaTeX, all of it, with its notes as comments."""
        # LaTeX puts "Table" and a number of its own before the caption.
        number, _, title = self.heading.partition(": ")
        text = self.frame.to_latex(escape=True, caption=title or number)
        notes = "".join(f"% {note}\n" for note in self.notes)
        return f"% {self.heading}\n% needs \\usepackage{{booktabs,multirow}}\n{notes}{text}"


def _markdown(frame: pandas.DataFrame) -> str:
    return frame.reset_index(names=["", " "][: frame.index.nlevels]).to_markdown(index=False, disable_numparse=True)


def _folded(summary: str, text: str) -> list[str]:
    return ["", "<details>", f"<summary>{summary}</summary>", "", text, "", "</details>"]


def filled_table(table: PublishedTable, groups: Sequence[Group]) -> FilledTable:
    """Returns the `FilledTable` of a `PublishedTable`, its rows' groups found by their settings.

    Groups that are in no row of the table, nor in its `also`, are left out. Those on another data set than the table's
    are shown, and called so, where none is on it. A row has a difference where it compares like with like (see
    `not_comparable`).

    Args:
        table: `PublishedTable`.
        groups: lists of `Run`s (see `grouped`).
    """
    lines, index, missing, notes = [], [], [], []
    unlike: dict[str, list[str]] = {}
    rows = [(row, [group for group in groups if _matches(group[0].settings, row.match)]) for row in table.rows]
    of_rows = [group for _, matching in rows for group in matching]
    for title, group in zip(titles(groups), groups, strict=True):
        if group not in of_rows and _is_also(table, group):
            rows.append((PublishedRow(title, {}, "", {}), [group]))
    for row, matching in _of_its_data(table, rows):
        reasons = [not_comparable(table, row, group) for group in matching]
        for group, reason in zip(matching or [[]], reasons or [""], strict=True):
            title = row.title if len(matching) < 2 else f"{row.title} ({group[0].path})"
            if group and not _is_on(table, group):
                title += f" (on {group[0].settings['dataset']})"
            cells = {column: _cell(group, column, table.eps) for column in table.columns}
            compared = {} if reason else row.figures
            in_part = [column for column, cell in cells.items() if column in compared and _is_in_part(cell)]
            missing += [Missing(title, work) for work in _work(table, group, row.recipe, in_part)]
            if reason and all(reasons):
                missing += [Missing(row.title, work) for work in _work(table, [], row.recipe)]
            if any(cell is not None for cell in cells.values()):
                notes.append(f"{title}: {measured_on(group)}")
                if in_part:
                    reason = "on all test images, here on the first of them"
                if reason:
                    columns = "" if len(in_part) in (0, len(compared)) else f" in {_names(table, in_part)}"
                    unlike.setdefault(f"{columns}: published {reason}", []).append(title)
            for source, figures in (("measured", {}), ("published", row.figures), ("difference", compared)):
                line = [_text(source, cells[column], figures.get(column)) for column in table.columns]
                if source == "measured" or any(line):
                    index.append((title, source))
                    lines.append(line)
    notes += [f"No difference for {', '.join(titles)}{reason}" for reason, titles in unlike.items()]
    missing = list(dict.fromkeys([*_sources_to_train(table, missing), *missing]))
    index = pandas.MultiIndex.from_tuples(index)
    frame = pandas.DataFrame(lines, index=index, columns=list(table.columns.values()))
    return FilledTable(f"Table {table.number}: {table.title}", frame, missing, notes)


def not_comparable(table: PublishedTable, row: PublishedRow, group: Group) -> str:
    """Returns why a group's accuracies cannot be compared with a row's published ones; "" if they can.

    That is what moves accuracies more than defenses do: another data set, fewer training images, another network, other
    images, fewer epochs, another ball. A setting of the method itself, such as its margin, does not count: what
    such a change does is what a difference is to show. Nor do more epochs, since they include the published ones.

    Args:
        table: `PublishedTable`.
        row: a row of it.
        group: `Run`s of one recipe.
    """
    settings, published = group[0].settings, row.trained
    if all(_is_cost(column) for column in row.figures):
        return ""  # which have no difference at all
    if not _is_on(table, group):
        return f"on {table.dataset}, here on {settings['dataset']}"
    reasons = []
    if settings["train_examples"]:
        reasons.append(f"on all training images, here on the first {settings['train_examples']:,}")
    if settings["model"] != published.get("model", settings["model"]):
        reasons.append(f"on {published['model']}, here on {settings['model']}")
    if (settings["image_size"] or published.get("image_size")) != published.get("image_size", settings["image_size"]):
        reasons.append(f"on images of {published['image_size']} pixels, here of {settings['image_size']}")
    if settings["epochs"] < published.get("epochs", 0):
        reasons.append(f"after {published['epochs']} epochs, here after {settings['epochs']}")
    if settings["eps"] != published.get("eps", settings["eps"]):
        reasons.append(f"at eps {format_size(published['eps'])}, here at {format_size(settings['eps'])}")
    return "; ".join(reasons)


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
    names = titles(groups)
    lines = [[_text("measured", measurement(group, column), None) for column in columns] for group in groups]
    frame = pandas.DataFrame(lines, index=names, columns=columns)
    missing += [each for group in groups for run in group if run.attacks for each in _lacking(run, columns)]
    notes = [f"{title}: {measured_on(group)}" for title, group in zip(names, groups, strict=True)]
    return FilledTable("All runs", frame, missing, notes, summary(groups))


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


def _names(table: PublishedTable, columns: Iterable[str]) -> str:
    return ", ".join(table.columns[column] for column in columns)


def _is_in_part(cell: Cell) -> bool:
    """Returns whether it is an accuracy on the first test images alone."""
    return isinstance(cell, Measurement) and not cell.whole


def _is_cost(column: str) -> bool:
    return column.startswith("cost ")


def _work(table: PublishedTable, group: Group, recipe: str, in_part: Sequence[str] = ()) -> list[Work]:
    """Returns the work that would fill a row's empty cells, seed by seed: of its runs, or of its recipe.

    Args:
        table: the row's table.
        group: the row's runs, if any.
        recipe: the row's, if it has one.
        in_part: columns of figures that are to be of all test images.
    """
    origin = group[0].path if group else recipe
    costs = [column for column in table.columns if _is_cost(column)]
    accuracies = [column for column in table.columns if not _is_cost(column)]
    trained = [run for run in group if run.attacks or run.trained]
    work: list[Work] = []
    for run in trained:
        found = {column: measurement([run], column, eps=table.eps) for column in accuracies}
        lacking = [
            column for column, cell in found.items() if cell is None or (column in in_part and _is_in_part(cell))
        ]
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
        # A difference to another machine's time would say nothing.
        return _number(measured) if source == "measured" else ""
    value = 100 * measured.accuracy
    if source == "difference":
        # The first test images may be easier or harder than all, which the published figures are of.
        return "" if published is None or not measured.whole else f"{value - float(published):+.2f}"
    spread = "" if measured.spread is None else f" ± {100 * measured.spread:.2f}"
    more = f", {measured.seeds} seeds" if measured.seeds > 1 else ""
    more += "" if measured.whole else f", first {measured.num_examples}"
    return f"{value:.2f}{spread} ({100 * measured.low:.1f}-{100 * measured.high:.1f}{more})"


def _number(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"
