"""Tables and page of runs, from the command line."""

import json

import pytest

from agkd_tf.training import Recipe
from tools import _flags


@pytest.fixture
def run(tmp_path):
    """Folder of an evaluated run."""
    folder = tmp_path / "run"
    _flags.write_flagfile(folder / "flags.txt", Recipe(dataset="cifar10", defense="at"))
    attacks = {"clean": {"accuracy": 0.5, "num_examples": 100}}
    (folder / "evaluation.json").write_text(
        json.dumps({"subject": {}, "attacks": attacks, "begun": {}}), encoding="utf-8"
    )
    return folder


def test_a_number_alone_stands_for_all_parts_of_its_table(tmp_path, tool, run):
    output = tmp_path / "report"
    reported = tool("report", run, "--tables=6,6b,4", f"--output={output}")
    assert reported.returncode == 0, reported.stderr
    names = ["all_runs", "table_4", "table_6a", "table_6b", "table_6c"]
    assert sorted(path.stem for path in output.glob("*.csv")) == names
    assert (output / "report.md").read_text(encoding="utf-8").count("\n## Table") == 4
    comment, packages, *latex = (output / "table_4.tex").read_text(encoding="utf-8").splitlines()
    assert comment.startswith("% Table 4: cost of training")
    assert packages == r"% needs \usepackage{booktabs,multirow}"
    assert any(line.startswith(r"\caption{cost of training, CIFAR-10 (published: one V100") for line in latex)
    assert r"\caption{All runs}" in (output / "all_runs.tex").read_text(encoding="utf-8")
    refused = tool("report", run, "--tables=6,7")
    assert refused.returncode == 2
    assert refused.stderr.strip().endswith("6c, 6, or all. Received: 7")
