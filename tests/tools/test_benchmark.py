"""Costs, from the command line to the report."""

import json

import pytest


@pytest.mark.slow
def test_costs_of_two_versions_of_a_recipe_reach_the_reports_table(tmp_path, tool):
    few = ("--rounds=2", "--steps=1", "--train_examples=64", "--validation_examples=20", "--batch_size=16")
    version = "--attack_steps=1"
    measured = tool(
        "benchmark", "training", "flags/digits/agkd_bml.flags", *few, f"--compare={version}", f"--output={tmp_path}"
    )
    assert measured.returncode == 0, measured.stderr
    assert measured.stderr == ""
    costs = {path.name: json.loads((path / "cost.json").read_text()) for path in tmp_path.iterdir()}
    assert set(costs) == {"agkd_bml", "agkd_bml,attack_steps=1"}
    for cost in costs.values():
        assert (cost["steps_per_epoch"], cost["steps_timed"], cost["batch_size"]) == (4, 2, 16)
        assert cost["peak_memory_mib"] > 100
        assert cost["seconds_per_epoch"] == pytest.approx(4 * cost["median_step_seconds"])
    flags = (tmp_path / "agkd_bml,attack_steps=1" / "flags.txt").read_text().splitlines()
    assert {"--attack_steps=1", "--batch_size=16", "--defense=agkd_bml"} <= set(flags)
    reported = tool("report", *tmp_path.iterdir(), "--tables=4")
    assert reported.returncode == 0, reported.stderr
    shown = f"{costs['agkd_bml']['seconds_per_epoch']:.2f}"
    (line,) = (line for line in reported.stdout.splitlines() if "AGKD-BML" in line and "measured " in line)
    assert shown in line
    assert "| agkd_bml,attack_steps=1 " in reported.stdout
    again = tool("benchmark", "training", tmp_path / "agkd_bml", "--rounds=1", "--steps=1", "--progress=off")
    assert (again.returncode, again.stdout) == (0, ""), again.stderr


@pytest.mark.slow
def test_a_benchmark_refuses_what_it_cannot_measure(tmp_path, tool):
    mistakes = {
        ("training",): "missing: python -m tools.benchmark training PATH",
        ("training", tmp_path): "a recipe's flagfile or a run's folder is needed",
        ("training", tmp_path / "x.flags"): "a recipe's flagfile or a run's folder is needed",
        ("training", "flags/digits/at.flags", "--batch_size=5000"): "`batch_size`",
        ("training", *2 * ["flags/digits/at.flags"]): "has the name of another recipe: at",
        ("training", "flags/digits/at.flags", "--compare=--stps=2"): "stps",
        ("inference", tmp_path / "model.keras"): "model.keras",
        ("speed", "flags/digits/at.flags"): "must be one of training, inference",
    }
    for arguments, expected in mistakes.items():
        refused = tool("benchmark", *arguments)
        assert refused.returncode == 2, (arguments, refused.stderr)
        assert expected in refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1, refused.stderr
