"""Tables and page of runs, from the command line."""

import json

import pytest

from agkd_tf.training import Recipe
from agkd_tf.training.recipe_file import write_recipe


def evaluated(folder, defense, **accuracies):
    """Returns the folder of a run of a defense, evaluated on 100 images."""
    write_recipe(folder / "flags.txt", Recipe(dataset="cifar10", defense=defense))
    attacks = {
        name: {"accuracy": accuracy, "num_examples": 100, "confidence_interval_95": [accuracy - 0.1, accuracy + 0.1]}
        for name, accuracy in accuracies.items()
    }
    record = {"subject": {}, "attacks": attacks, "begun": {}}
    (folder / "evaluation.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


@pytest.fixture
def run(tmp_path):
    """Folder of an evaluated run."""
    return evaluated(tmp_path / "run", "at", clean=0.5)


def test_a_run_without_an_evaluation_is_named_with_the_command_that_evaluates_it(tmp_path, tool, run):
    begun, trained = tmp_path / "begun", tmp_path / "trained"
    for folder in (begun, trained):
        write_recipe(folder / "flags.txt", Recipe(dataset="cifar10", defense="agkd_bml"))
    (trained / "student.keras").touch()
    reported = tool("report", run, begun, trained, "--tables=6a")
    assert reported.returncode == 0, reported.stderr
    all_runs, table = reported.stdout.split("## Table 6a")
    assert f"    # {trained}\n    python -m tools.evaluate --workdir={trained}\n" in all_runs
    assert "| run " in all_runs
    assert "| trained " not in all_runs
    evaluate = f"python -m tools.evaluate --workdir={trained} --attacks=clean,pgd-20 --knn"
    assert f"    # AGKD-BML\n    {evaluate}\n" in table
    assert "\n3 published rows without a run of yours: ALP; SML; AGKD-BML.\n" in table
    assert "<details>" not in reported.stdout
    assert "\n- published: What the supplement of" in table
    assert "- AT: wrn-28-10" in table
    assert "- AGKD-BML: " not in table  # of which nothing was measured
    refused = tool("report", begun, trained)
    assert refused.returncode == 2
    assert refused.stderr.strip() == "error: `tables` is needed where no run has an evaluation, such as --tables=4"


@pytest.mark.parametrize(("name", "content"), [("environment", "{}"), ("cost", "[]"), ("evaluation", '{"begun": 1}')])
def test_damaged_files_of_a_run_are_one_line(tool, run, name, content):
    (run / f"{name}.json").write_text(content, encoding="utf-8")
    refused = tool("report", run)
    assert refused.returncode == 2
    (line,) = refused.stderr.strip().splitlines()
    assert f"{name}.json is" in line


def test_a_number_alone_stands_for_all_parts_of_its_table(tmp_path, tool, run):
    output = tmp_path / "report"
    figures = [run / "figures" / "own.png", tmp_path / "given.png"]
    for figure in figures:
        figure.parent.mkdir(exist_ok=True)
        figure.write_bytes(b"\x89PNG")
    others = [evaluated(tmp_path / name, name, clean=0.6, fgsm=0.2) for name in ("mart", "trades")]
    reported = tool("report", run, *others, "--tables=6,6b,4", f"--output={output}", f"--figures={figures[1]}")
    assert reported.returncode == 0, reported.stderr
    lacking = "accuracies on clean images and, on 100, under fgsm"
    assert reported.stderr == f"note: frontier.png leaves out run, without {lacking}\n"
    names = ["all_runs", "table_4", "table_6a", "table_6b", "table_6c"]
    assert sorted(path.stem for path in output.glob("*.csv")) == names
    markdown = (output / "report.md").read_text(encoding="utf-8")
    assert markdown.count("\n## Table") == 4
    # Rows and commands of each table, and the commands of all runs.
    assert markdown.count("<details>") == markdown.count("</details>") == 9
    assert (output / "table_6a.csv").read_text(encoding="utf-8").count(",published,") == 4
    comment, packages, *latex = (output / "table_4.tex").read_text(encoding="utf-8").splitlines()
    assert comment.startswith("% Table 4: cost of training")
    assert packages == r"% needs \usepackage{booktabs,multirow}"
    assert any(line.startswith(r"\caption{cost of training, CIFAR-10 (published: one V100") for line in latex)
    all_runs = (output / "all_runs.tex").read_text(encoding="utf-8")
    assert r"\caption{All runs}" in all_runs
    assert "\n% run: wrn-28-10, cifar10, all training images, " in all_runs
    page = (output / "report.html").read_text(encoding="utf-8")
    assert all(str(figure) in page for figure in figures)
    assert str(output / "frontier.png") in page
    assert page.count('src="data:image/png;base64,') == 3
    printed = tool("report", run, "--frontier=fgsm")
    assert (printed.returncode, printed.stderr.strip()) == (
        2,
        "error: `frontier` has no effect without `output`, the folder to draw it in: --output=FOLDER",
    )
    refused = tool("report", run, "--tables=6,7")
    assert refused.returncode == 2
    assert refused.stderr.strip().endswith("6c, 6, or all. Received: 7")
