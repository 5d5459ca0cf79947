"""Gathers runs into the paper's tables, beside what the paper published.

  python -m tools.report runs/quickstart/at runs/quickstart/agkd_bml
  python -m tools.report runs/quickstart/at runs/quickstart/agkd_bml runs/cost/* --tables=all --output=report
  python -m tools.report --robustbench=Wong2020Fast=evaluation.json

A run is a folder that tools.train or tools.benchmark wrote; what it has no figures of yet stays empty, with the command
that fills it. Without --output the tables are printed; with it, they are written there: report.md, report.html (one
page that needs nothing beside itself: the runs' own table and figures, then the supplement's tables, where rows and
tables that no run fills, and the commands that do, open at a click), each table, whole, as CSV and LaTeX, and
frontier.png, clean against robust accuracy of all runs; the page, report.md and LaTeX's comments say what it was
measured on. A difference to a published figure is given only where the data set, network, image size and eps are the
published ones, on all images, with no fewer epochs; if not, a line says what differs. Runs that differ in the seed
alone are one row: mean, standard deviation, interval. --robustbench puts RobustBench's figures beside the evaluation of
a network that was imported from its zoo.
"""

import pathlib
from collections.abc import Sequence

from absl import flags

from agkd_tf.errors import InputError
from agkd_tf.files import write_text
from agkd_tf.monitoring import save_figure
from agkd_tf.report import (
    TABLES,
    comparison,
    filled_table,
    frontier_of,
    grouped,
    how_to_read,
    html_page,
    read_run,
    robustbench_table,
)
from agkd_tf.workdir import Workdir
from tools import _app, _commands

FLAGS = flags.FLAGS
BY_NUMBER = {table.number: table for table in TABLES}

flags.DEFINE_list(
    "tables",
    [],
    f"Tables of the supplement to fill, of {', '.join(BY_NUMBER)}; 6 for all parts of Table 6; or all.",
)
flags.DEFINE_list("attacks", [], "Columns of the comparison of all runs; what any run has if not given.")
flags.DEFINE_list("figures", [], "PNG files to show on the page, beside those in the runs' own figures/.")
flags.DEFINE_string(
    "frontier",
    None,
    "Attack of the robust accuracy in frontier.png; the one that most runs have, or the strongest of several, if not "
    "given.",
)
flags.DEFINE_list(
    "robustbench",
    [],
    "Entries of RobustBench and the evaluations of their imported networks: NAME=RECORD, separated by commas.",
)
flags.DEFINE_string("title", "AGKD-BML and its relatives", "Title of the page.")
flags.DEFINE_string("output", None, "Folder to write; the tables are printed if not given.")


def main(argv: list[str]) -> None:
    """Prints or writes the report."""
    paths = argv[1:]
    if not paths and not FLAGS.robustbench:
        raise InputError("the runs' folders are needed: python -m tools.report runs/A runs/B")
    numbers = _numbers()
    groups = grouped(map(read_run, paths))
    tables = {f"table_{number}": filled_table(BY_NUMBER[number], groups) for number in numbers}
    if any(run.attacks for group in groups for run in group):
        tables = {"all_runs": comparison(groups, FLAGS.attacks or None), **tables}
    if FLAGS.robustbench:
        tables["robustbench"] = robustbench_table(_records())
    if not tables:
        raise InputError("`tables` is needed where no run has an evaluation, such as --tables=4")
    text = "\n\n".join(
        [table.markdown(_commands.command, fold=bool(FLAGS.output)) for table in tables.values()]
        + [how_to_read(list(tables.values()))]
    ).rstrip()
    if not FLAGS.output:
        if FLAGS.frontier:
            raise InputError("`frontier` has no effect without `output`, the folder to draw it in: --output=FOLDER")
        print(text)
        return
    folder, figures, best = pathlib.Path(FLAGS.output), _figures(paths), frontier_of(groups, FLAGS.frontier)
    if best:
        drawn, _ = save_figure(best.figure(), folder / "frontier")
        figures = {str(drawn): drawn.read_bytes(), **figures}
        if best.left_out:
            count = best.points[0].robust.num_examples
            missing = f"accuracies on clean images and, on {count:,}, under {best.attack}"
            _app.note(f"{drawn.name} leaves out {', '.join(best.left_out)}, without {missing}")
    write_text(folder / "report.md", f"# {FLAGS.title}\n\n{text}\n")
    write_text(folder / "report.html", html_page(FLAGS.title, tables.values(), figures, describe=_commands.command))
    for name, table in tables.items():
        write_text(folder / f"{name}.csv", table.frame.to_csv())
        write_text(folder / f"{name}.tex", table.latex())
    counts = {"table": len(tables), "run": len(paths), "figure": len(figures)}
    counted = ", ".join(f"{count} {what}{'s' * (count != 1)}" for what, count in counts.items())
    print(f"{counted}: {folder / 'report.html'}")


def _records() -> dict[str, str]:
    """Returns entry of RobustBench -> record, of --robustbench."""
    found = {}
    for given in FLAGS.robustbench:
        name, equals, path = given.partition("=")
        if not equals or not path:
            raise InputError(
                f"`robustbench` must be NAME=RECORD, such as Wong2020Fast=evaluation.json. Received: {given}"
            )
        found[name] = path
    return found


def _numbers() -> list[str]:
    """Returns the numbers of the tables that were asked for, each once.

    Raises:
        InputError: for one that is no table's, nor that of a table in parts.
    """
    numbers: dict[str, None] = {}
    for asked in FLAGS.tables:
        parts = [number for number in BY_NUMBER if asked == "all" or number.rstrip("abc") == asked]
        found = [asked] if asked in BY_NUMBER else parts
        if not found:
            raise InputError(f"`tables` must be of {', '.join(BY_NUMBER)}, 6, or all. Received: {asked}")
        numbers |= dict.fromkeys(found)
    return list(numbers)


def _figures(paths: Sequence[str]) -> dict[str, bytes]:
    chosen = [file for path in paths for file in sorted(Workdir(path).figures.glob("*.png"))]
    chosen += [pathlib.Path(path) for path in FLAGS.figures]
    return {str(file): file.read_bytes() for file in chosen}


if __name__ == "__main__":
    _app.run(main, words=True)
