"""Gathers runs into the paper's tables, beside what the paper published.

  python -m tools.report runs/quickstart/at runs/quickstart/agkd_bml
  python -m tools.report runs/quickstart/at runs/quickstart/agkd_bml runs/cost/* --tables=all --output=report

A run is a folder that tools.train or tools.benchmark wrote; what it has no figures of yet stays empty, with the command
that fills it. Without --output the tables are printed; with it, they are written there: report.md, report.html (one
page that needs nothing beside itself), and each table as CSV and LaTeX; the page, report.md and LaTeX's comments say
what it was measured on. Runs that differ in the seed alone are one row: mean, standard deviation, interval.
"""

import pathlib

from absl import flags

from agkd_tf.errors import InputError
from agkd_tf.evaluation import read_evaluation
from agkd_tf.files import read_json, write_text
from agkd_tf.report import TABLES, Run, comparison, filled_table, grouped, html_page
from agkd_tf.training.recipe_file import read_recipe
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
flags.DEFINE_string("title", "AGKD-BML and its relatives", "Title of the page.")
flags.DEFINE_string("output", None, "Folder to write; the tables are printed if not given.")


def main(argv):
    """Prints or writes the report."""
    paths = argv[1:]
    if not paths:
        raise InputError("the runs' folders are needed: python -m tools.report runs/A runs/B")
    numbers = _numbers()
    groups = grouped([_run(path) for path in paths])
    tables = {f"table_{number}": filled_table(BY_NUMBER[number], groups) for number in numbers}
    if any(run.attacks for group in groups for run in group):
        tables = {"all_runs": comparison(groups, FLAGS.attacks or None), **tables}
    if not tables:
        raise InputError("`tables` is needed where no run has an evaluation, such as --tables=4")
    text = "\n\n".join(map(_markdown, tables.values()))
    if not FLAGS.output:
        print(text)
        return
    folder, figures = pathlib.Path(FLAGS.output), _figures(paths)
    write_text(folder / "report.md", f"# {FLAGS.title}\n\n{text}\n")
    write_text(folder / "report.html", html_page(FLAGS.title, tables.values(), figures, describe=_commands.command))
    for name, table in tables.items():
        write_text(folder / f"{name}.csv", table.frame.to_csv())
        write_text(folder / f"{name}.tex", _latex(table))
    print(f"{len(tables)} tables of {len(paths)} runs, {len(figures)} figures: {folder / 'report.html'}")


def _numbers():
    """Returns the numbers of the tables that were asked for, each once.

    Raises:
        InputError: for one that is no table's, nor that of a table in parts.
    """
    numbers = {}
    for asked in FLAGS.tables:
        parts = [number for number in BY_NUMBER if asked == "all" or number.rstrip("abc") == asked]
        found = [asked] if asked in BY_NUMBER else parts
        if not found:
            raise InputError(f"`tables` must be of {', '.join(BY_NUMBER)}, 6, or all. Received: {asked}")
        numbers |= dict.fromkeys(found)
    return list(numbers)


def _run(path):
    workdir = Workdir(path)
    settings = read_recipe(workdir.flags).settings()
    attacks = read_evaluation(workdir.evaluation)["attacks"] if workdir.evaluation.is_file() else {}
    sittings = read_json(workdir.environment, list) if workdir.environment.is_file() else []
    cost = read_json(workdir.cost, dict) if workdir.cost.is_file() else None
    environment = sittings[0] if sittings else (cost or {}).get("environment")
    return Run(path, settings, attacks, environment, cost, trained=workdir.student.is_file())


def _markdown(table):
    lines = [f"## {table.heading}", "", _with_index(table.frame).to_markdown(index=False, disable_numparse=True)]
    if table.notes:
        lines += ["", *(f"- {note}" for note in table.notes)]
    if table.missing:
        lines += ["", "To fill what is empty:", "", *(f"    {_commands.line(missing)}" for missing in table.missing)]
    return "\n".join(lines)


def _latex(table):
    # LaTeX puts "Table" and a number of its own before the caption.
    number, _, title = table.heading.partition(": ")
    text = table.frame.to_latex(escape=True, caption=title or number)
    notes = "".join(f"% {note}\n" for note in table.notes)
    return f"% {table.heading}\n% needs \\usepackage{{booktabs,multirow}}\n{notes}{text}"


def _with_index(frame):
    return frame.reset_index(names=["", " "][: frame.index.nlevels])


def _figures(paths):
    chosen = [file for path in paths for file in sorted(Workdir(path).figures.glob("*.png"))]
    chosen += [pathlib.Path(path) for path in FLAGS.figures]
    return {str(file): file.read_bytes() for file in chosen}


if __name__ == "__main__":
    _app.run(main, words=True)
