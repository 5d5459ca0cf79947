"""Costs, from the command line to the report."""

import json
import re
import sys

import pytest

from agkd_tf.models import build_model
from tests.documentation import ROOT
from tests.processes import run_tool_with_forked_workers, server_address


@pytest.fixture
def benchmark(start):
    """Returns benchmark(*arguments): of trainings, with workers that know `tiny`; a user's are new interpreters."""

    def run(*arguments):
        process = start(run_tool_with_forked_workers, ROOT, server_address(), "benchmark", "training", *arguments)
        process.wait(300)
        return process

    return run


@pytest.mark.slow
def test_costs_of_two_versions_of_a_recipe_reach_the_reports_table(tmp_path, benchmark, tool):
    few = ("--model=tiny", "--rounds=2", "--steps=1", "--train_examples=64", "--validation_examples=20")
    few = (*few, "--batch_size=16")
    version = "--attack_steps=1 --jit_compile=on"
    recipe = "flags/digits/agkd_bml_paper.flags"
    measured = benchmark(recipe, *few, f"--compare={version}", f"--output={tmp_path}")
    assert measured.returncode == 0, measured.stderr
    assert measured.stderr == ""
    costs = {path.name: json.loads((path / "cost.json").read_text()) for path in tmp_path.iterdir()}
    assert set(costs) == {"agkd_bml_paper", "agkd_bml_paper,attack_steps=1,jit_compile=on"}
    for cost in costs.values():
        assert (cost["steps_per_epoch"], cost["steps_timed"], cost["batch_size"]) == (4, 2, 16)
        assert cost["peak_memory_mib"] > 100
        assert cost["compile_seconds"] == max(0, cost["first_step_seconds"] - cost["median_step_seconds"])
    assert {name: cost["xla"] for name, cost in costs.items()} == {
        "agkd_bml_paper": False,
        "agkd_bml_paper,attack_steps=1,jit_compile=on": True,
    }
    for cost in costs.values():
        assert cost["seconds_per_epoch"] == pytest.approx(4 * cost["median_step_seconds"])
        assert cost["hours_with_teacher"] > cost["hours"]
    teachers = [line for line in measured.stdout.splitlines() if line.startswith("teacher of agkd_bml_paper")]
    assert len(teachers) == 2  # timed once with each switch
    flags = (tmp_path / "agkd_bml_paper,attack_steps=1,jit_compile=on" / "flags.txt").read_text().splitlines()
    assert {"--attack_steps=1", "--batch_size=16", "--defense=agkd_bml"} <= set(flags)
    reported = tool("report", *tmp_path.iterdir(), "--tables=4")
    assert reported.returncode == 0, reported.stderr
    shown = f"{costs['agkd_bml_paper']['seconds_per_epoch']:.2f}"
    (line,) = (line for line in reported.stdout.splitlines() if "AGKD-BML" in line and "measured " in line)
    assert shown in line
    assert "| agkd_bml_paper,attack_steps=1,jit_compile=on " in reported.stdout
    again = benchmark(tmp_path / "agkd_bml_paper", "--rounds=1", "--steps=1", "--progress=off")
    assert (again.returncode, again.stdout) == (0, ""), again.stderr


@pytest.mark.slow
def test_operations_parts_and_a_peer_stand_beside_the_step(tmp_path, benchmark):
    few = ("--train_examples=64", "--validation_examples=20", "--batch_size=16")
    peer = f"{sys.executable} -c \"print('median 0.5000 s, 32.0 images/s')\""
    small = ("flags/digits/agkd_bml.flags", "--model=tiny", *few)
    also = ("--rounds=1", "--steps=1", "--flops", "--breakdown", "--profile")
    measured = benchmark(*small, *also, f"--peer={peer}", f"--output={tmp_path}")
    assert measured.returncode == 0, measured.stderr
    assert measured.stderr == ""
    cost = json.loads((tmp_path / "agkd_bml" / "cost.json").read_text())
    assert cost["gigaflops_per_step"] > 0
    assert cost["gigaflops_per_second"] == pytest.approx(
        cost["minimum_gigaflops_per_step"] / cost["median_step_seconds"]
    )
    assert cost["times_the_minimum"] == pytest.approx(1, abs=0.05)
    assert f" {cost['times_the_minimum']:.5f} " in measured.stdout
    assert cost["profile_seconds"]["by kernel"] > 0
    assert re.search(r"^ms +convolutions +by input +by kernel +batch normalization ", measured.stdout, re.MULTILINE)
    assert set(cost["breakdown_seconds"]) == {"waiting", "attack", "teacher", "student", "optimizer"}
    assert cost["waiting_share"] == cost["breakdown_seconds"]["waiting"] / cost["median_step_seconds"]
    assert f" {cost['waiting_share']:.1%}" in measured.stdout
    (line,) = (line for line in measured.stdout.splitlines() if "print(" in line and "Preparing" not in line)
    assert " 32.0 " in line
    assert line.startswith("peer 1: ")
    lines = measured.stdout.splitlines()
    (heading,) = (number for number, text in enumerate(lines) if text.startswith("images/s, times the peer's "))
    times = cost["images_per_second"] / 32
    assert lines[heading + 1].split() == ["agkd_bml", f"{times:.2f}", f"({times:.2f}-{times:.2f})"]
    assert cost["round_step_seconds"] == [[cost["median_step_seconds"]]]
    assert cost["peers"][peer]["times_the_peer"] == pytest.approx([times] * 3)
    assert cost["peers"][peer]["round_step_seconds"] == [[0.5]]
    assert "matrix product, float32: " in measured.stdout


@pytest.mark.slow
def test_inference_is_measured_for_each_model(tmp_path, tool):
    build_model("wrn-10-1", image_shape=(16, 16, 1), num_classes=10).save(tmp_path / "model.keras")
    measured = tool("benchmark", "inference", tmp_path / "model.keras", "--rounds=2", "--steps=1", "--batch_size=4")
    assert measured.returncode == 0, measured.stderr
    (seconds, rate), *more = re.findall(r"model\.keras +([\d.]+) \(.*?\) +([\d.,]+) ", measured.stdout)
    assert not more
    assert float(rate.replace(",", "")) == pytest.approx(4 / float(seconds), rel=0.5)  # of rounded seconds


AT = "flags/digits/at.flags"
MISTAKES = {
    ("training",): "missing: python -m tools.benchmark training PATH",
    ("training", "FOLDER"): "a recipe must be a flagfile or a run's folder",
    ("training", "FOLDER/x.flags"): "a recipe must be a flagfile or a run's folder",
    ("training", AT, AT): "has the same name as another recipe: at",
    ("training", AT, "--compare=--stps=2"): "`compare` --stps=2: ",
    ("training", AT, "--compare=--jit_compile=maybe"): "`compare` --jit_compile=maybe: ",
    ("training", AT, "--profile", "--jit_compile=on"): "`profile` needs steps without XLA",
    ("training", AT, "--peer=nowhere/python x.py", "--flops"): "`peer` nowhere/python x.py failed",
    ("inference", AT, "--flops"): "`flops` is for `training`",
    ("inference", AT, "--model=wrn-10-1"): "`model` is for `training`",
    ("speed", AT): "must be one of training, inference",
}
MISTAKES_OF_A_WORKER = {
    ("training", AT, "--batch_size=5000"): "`batch_size`",
    ("inference", "FOLDER/model.keras"): "model.keras",
}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        *MISTAKES.items(),
        *(pytest.param(*mistake, marks=pytest.mark.slow) for mistake in MISTAKES_OF_A_WORKER.items()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_benchmark_refuses_what_it_cannot_measure(tmp_path, tool, arguments, expected):
    refused = tool("benchmark", *(argument.replace("FOLDER", str(tmp_path)) for argument in arguments))
    assert refused.returncode == 2, refused.stderr
    assert expected in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1, refused.stderr
    assert "operations of" not in refused.stdout  # which would take minutes before
