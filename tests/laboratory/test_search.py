"""The search of a recipe's settings: its file of trials, its table, and that it reads the validation split alone."""

import csv

import numpy as np
import pytest

from agkd_tf.evaluation import read_evaluation
from agkd_tf.training.recipe_file import write_recipe
from tests.trainings import tiny_recipe


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.flags"
    write_recipe(path, tiny_recipe("at", hyperparameters={"attack_steps": 1, "eps": 0.1}))
    return path


@pytest.fixture
def search(tool, recipe, tmp_path):
    """Returns search(trials, *flags): the command line that has run on a file with these lines."""

    def run(trials, *flags):
        file = tmp_path / "trials.txt"
        file.write_text(trials, encoding="utf-8")
        output = f"--output={tmp_path / 'found'}"
        return tool("laboratory.search", str(recipe), str(file), output, "--attacks=clean,pgd-2", *flags)

    return run


@pytest.mark.slow
def test_trials_are_compared_on_the_validation_images(search, tmp_path):
    trials = "# two rates\nall: --label_smoothing=0.1\n.\n--learning_rate=0.0001\n"
    done = search(trials)
    assert done.returncode == 0, done.stderr
    found = tmp_path / "found"
    with (found / "trials.csv").open(encoding="utf-8") as file:
        heading, *rows = csv.reader(file)
    assert heading == ["trial", "clean", "pgd-2", "worst case"]
    runs = list((found / "runs").iterdir())
    assert len(runs) == 4  # two trials, two seeds
    cells = {}
    for run in runs:
        flags = (run / "flags.txt").read_text(encoding="utf-8")
        assert "--label_smoothing=0.1" in flags
        attacks = read_evaluation(run / "evaluation.json")["attacks"]
        # The validation images; 400 are for the test.
        assert {each["num_examples"] for each in attacks.values()} == {20}
        name = "--learning_rate=0.0001" if "--learning_rate=0.0001\n" in flags else "."
        cells.setdefault(name, []).append(
            next(100 * each["accuracy"] for key, each in attacks.items() if key.startswith("clean"))
        )
    for name, *shown in rows:
        mean, spread = np.mean(cells[name]), np.std(cells[name], ddof=1)
        assert shown[0] == f"{mean:.1f} ± {spread:.1f}"
    worst = [float(row[-1].split()[0]) for row in rows]
    assert worst == sorted(worst, reverse=True)
    assert (found / "trials.md").read_text(encoding="utf-8").count("\n") == 4
    # What is done is not done again.
    times = {run: (run / "student.keras").stat().st_mtime_ns for run in runs}
    assert search(trials).returncode == 0
    assert {run: (run / "student.keras").stat().st_mtime_ns for run in (found / "runs").iterdir()} == times


@pytest.mark.parametrize(
    ("trials", "flags", "message"),
    [
        ("# nothing\n", (), "must have trials, each once"),
        (".\n.\n", (), "must have trials, each once"),
        (".\n--learning_rat=1\n", (), "learning_rat"),
        (".\n", ("--seeds=one",), "`seeds` must be whole numbers from 0 on, each once. Received: 'one'"),
        (".\n", ("--seeds=0,0",), "`seeds` must be whole numbers from 0 on, each once. Received: '0,0'"),
        (".\n", ("--attacks=",), "`attacks` must be names of attacks"),
        (".\n", ("--attacks=clean,pgd",), "pgd"),
    ],
)
def test_mistakes_end_in_a_line_before_the_first_training(search, tmp_path, trials, flags, message):
    done = search(trials, *flags)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "found").exists()


def test_a_robust_teacher_that_is_missing_ends_it_before_the_first_training(search, recipe, tmp_path):
    recipe.write_text("--defense=rslad\n", encoding="utf-8")
    done = search(".\n")
    assert done.returncode == 2
    assert "teacher=PATH" in done.stderr
    assert not (tmp_path / "found").exists()
