"""What a portable folder trains and evaluates under JAX is what `fit` and an evaluation do, and it becomes a run."""

import csv
import json
import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import agkd_tf
from agkd_tf.data import load_dataset
from agkd_tf.data.device_images import packed_pixels
from agkd_tf.errors import InputError
from agkd_tf.models import build_model
from agkd_tf.models.storage import load_classifier
from agkd_tf.training import Recipe
from agkd_tf.training import run as run_module
from agkd_tf.workdir import Workdir
from tests.trainings import train
from tools.laboratory.portable import run
from tools.laboratory.portable.collect import PortableResults, collect_run
from tools.laboratory.portable.export import export_portable

EPOCHS, STEPS, IMAGES = 2, 10, 64
FAST = ("clean", "pgd-20", "apgd-ce")
# Few and small: of each million signs of a gradient one or so is decided by rounding, and then trainings part.
DATA = {"image_size": 8, "train_examples": 80, "validation_examples": 50}


@pytest.fixture(scope="module", autouse=True)
def programs():
    """A program of several tests is compiled once."""
    compiled, programs = run.Device.compiled, {}

    def once(self, text):
        if text not in programs:
            programs[text] = compiled(self, text)
        return programs[text]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run.Device, "compiled", once)
        yield


@pytest.fixture(scope="module")
def data():
    return load_dataset("digits", **DATA)


def recipe(**settings):
    given = {"model": "tiny", "batch_size": 8, "epochs": EPOCHS, "decay_epochs": (1,), "learning_rate": 0.1, **DATA}
    given |= {"defense": "agkd_bml", "teacher_label_smoothing": 0.1}
    hyperparameters = {"eps": 0.03, "attack_steps": 2, **settings.pop("hyperparameters", {})}
    return Recipe(**{**given, **settings}, hyperparameters=hyperparameters)


@pytest.fixture(scope="module")
def attacks(pytestconfig):
    """What is evaluated: with --all, AutoAttack, which compiles a program for each of its attacks."""
    return (*FAST[:-1], "autoattack") if pytestconfig.getoption("--all") else FAST


@pytest.fixture(scope="module")
def portable(data, attacks, tmp_path_factory):
    """(portable folder that has run, losses of its student's steps)."""
    folder, losses = tmp_path_factory.mktemp("portable") / "folder", []
    export_portable(recipe(ema=0.8), data, folder, attacks=attacks, batch_size=IMAGES)
    names = run.Folder(folder).description["stages"][-1]["step"]["scalars"]
    with pytest.MonkeyPatch.context() as patch:
        step = run.Training.step

        def noting(self, state, places):
            state, scalars = step(self, state, places)
            if self.name == "student":
                losses.append(float(scalars[names.index("loss")]))
            return state, scalars

        patch.setattr(run.Training, "step", noting)
        assert run.main([str(folder), f"--num_examples={IMAGES}"]) == 0
    return folder, losses


@pytest.fixture(scope="module")
def collected(portable, data, tmp_path_factory):
    """(a run's folder, its evaluations)."""
    workdir = Workdir(tmp_path_factory.mktemp("collected") / "run")
    return workdir, collect_run(PortableResults(portable[0]), workdir, data)


@pytest.fixture(scope="module")
def fitted(data, tmp_path_factory):
    """(folder of the same run as `fit` trains it, losses of its student's steps)."""
    workdir, means = Workdir(tmp_path_factory.mktemp("fitted") / "run"), []

    class Noting(run_module.Throughput):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            means.append(float(logs["loss"]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "Throughput", Noting)
        train(recipe(ema=0.8), workdir, data)
    means = np.array(means).reshape(-1, EPOCHS, STEPS)[-1] * np.arange(
        1, STEPS + 1
    )  # the student's, after its teacher's
    return workdir, np.diff(means, prepend=0.0, axis=1).ravel()


without_results = shutil.ignore_patterns("results")


def weights(workdir):
    return load_classifier("workdir", workdir.path).get_weights()


def history(workdir):
    with open(workdir.history) as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_twenty_steps_are_those_of_fit(portable, collected, fitted):
    _, losses = portable
    np.testing.assert_allclose(losses[:5], fitted[1][:5], rtol=1e-5)
    np.testing.assert_allclose(losses, fitted[1], rtol=1e-3)
    for own in (collected[0].teacher, collected[0]):
        theirs = fitted[0].teacher if own.path.name == "teacher" else fitted[0]
        for one, other in zip(weights(own), weights(theirs), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)
        for one, other in zip(history(own), history(theirs), strict=True):
            assert one.keys() == other.keys()
            for name in one.keys() - {"images_per_second"}:
                assert one[name] == pytest.approx(other[name], rel=2e-3, abs=0.021), name  # one of 50 images


def test_outcomes_are_those_of_an_evaluation_image_by_image(collected, attacks, data):
    model = load_classifier("workdir", collected[0].path)
    own = agkd_tf.evaluate(model, data.test.take(slice(0, IMAGES)), attacks=attacks, eps=0.03)
    (elsewhere,) = collected[1]
    for name in attacks:
        assert 0 < elsewhere[name].accuracy < 1
        assert np.count_nonzero(elsewhere[name].correct != own[name].correct) <= 2, name
    assert elsewhere[attacks[-1]].broken_by.keys() == own[attacks[-1]].broken_by.keys()


def test_the_collected_folder_is_a_run_like_any_other(collected, fitted, data, tmp_path):
    workdirs = [
        Workdir(shutil.copytree(each[0].path, tmp_path / each[0].path.parent.name)) for each in (collected, fitted)
    ]
    ours, theirs = (
        {str(path.relative_to(each.path)) for path in each.path.rglob("*") if path.is_file()} for each in workdirs
    )
    workdir = workdirs[0]
    ours, theirs = (
        {name for name in names if not re.search(r"events.out|ckpt-10\.", name)} for names in (ours, theirs)
    )
    assert ours - {"evaluation.json", "evaluation.npz"} == theirs
    record = json.loads(workdir.evaluation.read_text())["attacks"]
    assert record["pgd-20 [first 64]"]["environment"]["jax"]
    assert json.loads(workdir.environment.read_text())[0]["jax"]
    # It trains on, as the run that `fit` trained does.
    after = [weights(each) for each in workdirs if train(recipe(ema=0.8, epochs=3), each, data)]
    for one, other in zip(*after, strict=True):
        np.testing.assert_allclose(one, other, atol=3e-4)


def test_an_order_is_that_of_the_training_batches():
    for count, seed, epoch in ((1, 0, 0), (2, 3, 7), (3, 0, 1), (256, 2**31 - 1, 199), (257, 3, 7), (70_000, 5, 3)):
        order = run.epoch_order(seed, epoch, count)
        assert set(order) == set(range(count))
        places = np.unique(np.linspace(0, count - 1, 300).astype(np.int64))
        pair, last = tf.constant([seed, epoch], tf.int64), tf.constant(count - 1, tf.int64)
        np.testing.assert_array_equal(order[places], tf.random.experimental.index_shuffle(places, pair, last))


def test_images_are_packed_as_the_library_packs_them():
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 5, 3)).astype(np.uint8)
    np.testing.assert_array_equal(run.packed_pixels(images), packed_pixels(images))


SCRIPT = """
import runpy, sys
for name in ("tensorflow", "keras", "absl", "agkd_tf"):
    sys.modules[name] = None
sys.argv = ["portable", "run", sys.argv[1], "--attacks=clean", "--num_examples=10"]
runpy.run_module("tools.laboratory.portable", run_name="__main__")
"""


def test_it_goes_on_where_it_was_killed_without_tensorflow(portable, tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    shutil.copytree(portable[0], folder)
    for name in ("student", "student_chosen"):
        (folder / "results" / f"{name}.npz").unlink()
    teacher = (folder / "results" / "teacher.npz").stat().st_mtime_ns
    write = run.Results.write

    def killed(self, name, *arguments):
        write(self, name, *arguments)
        if name == "student":
            raise KeyboardInterrupt

    monkeypatch.setattr(run.Results, "write", killed)
    assert run.main([str(folder)]) == 130
    root = pathlib.Path(run.__file__).parents[3]
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    own = {"PATH": "", "XLA_FLAGS": os.environ["XLA_FLAGS"]}  # which decide on last digits
    shown = subprocess.run(command, cwd=root, env=own, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert "epoch 2 of 2" in shown.stdout
    assert "epoch 1 of 2" not in shown.stdout
    assert (folder / "results" / "teacher.npz").stat().st_mtime_ns == teacher
    for name in ("student", "student_chosen"):
        one, other = (np.load(each / "results" / f"{name}.npz") for each in (folder, portable[0]))
        for key in set(one.files) - {"notes"}:
            np.testing.assert_array_equal(one[key], other[key])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("portable.json", None, "is not a portable folder: portable.json: No such file"),
        ("portable.json", b"{", "is damaged: .*; export the recipe again"),
        ("portable.json", b'{"format": 0}', "has format 0, but this program reads 1: run .*/run.py"),
        ("arrays/*", b"1", "is damaged: copy the whole folder"),
        ("arrays/*", None, "No such file or directory; copy the whole folder"),
        ("programs/student_step.mlir.gz", b"1", "student_step.mlir.gz: .*; copy the whole folder"),
        ("results/student.npz", b"1", "student.npz is damaged: .*; remove it"),
        ("results/student_chosen.npz", None, "student_chosen.npz is missing: put it back, or remove student.npz"),
        ("results/teacher.npz", "results/student.npz", "teacher.npz comes from another export: remove it"),
    ],
)
def test_a_wrong_or_damaged_folder_is_one_line(portable, tmp_path, capsys, monkeypatch, name, content, message):
    folder = tmp_path / "folder"
    begun = "student*.npz" if "programs" in name else "" if "results" in name else "results"
    shutil.copytree(portable[0], folder, ignore=shutil.ignore_patterns(begun))
    for path in list(folder.glob(name)):
        path.unlink()
        if content is not None:
            path.write_bytes((folder / content).read_bytes() if isinstance(content, str) else content)
    monkeypatch.setattr(run.Device, "compiled", lambda self, text: None)
    assert run.main([str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert re.search(message, error), error


def test_a_loss_that_is_not_finite_ends_the_training(portable, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "folder"
    shutil.copytree(portable[0], folder, ignore=shutil.ignore_patterns("student*.npz"))

    def overflowing(self, state, places):
        done = int(state[-1]) + 1
        scalars = [np.float32(np.inf if done == 13 else 1) for _ in self._stage["step"]["scalars"]]
        return [*state[:-1], np.int32(done)], scalars

    monkeypatch.setattr(run.Training, "step", overflowing)
    monkeypatch.setattr(run.Training, "_program", None)
    assert run.main([str(folder)]) == 2
    error = capsys.readouterr().err
    assert re.search("loss.* became NaN or infinite at step 13: training stopped; 1 epochs are saved", error), error


def test_what_is_asked_for_must_be_there(portable, attacks, capsys):
    assert run.main([str(portable[0]), "--attacks=fgsm"]) == 2
    assert f"--attacks must be among {', '.join(attacks)}. Received: fgsm" in capsys.readouterr().err
    assert run.main([str(portable[0]), "--num_examples=100000"]) == 2
    assert "--num_examples must be at most" in capsys.readouterr().err


@pytest.mark.slow
def test_a_step_is_timed_and_nothing_is_written(portable, tmp_path, capsys):
    folder = tmp_path / "folder"
    shutil.copytree(portable[0], folder, ignore=without_results)
    # The folder's own copy.
    own = runpy.run_path(str(folder / "run.py"))
    assert own["main"]([str(folder), "--time=2"]) == 0
    assert " median 0." in capsys.readouterr().out
    assert not (folder / "results").exists()


def test_only_an_own_place_is_written_and_only_whole_results_are_collected(portable, collected, data, tmp_path):
    with pytest.raises(InputError, match="`output` must be a folder that does not exist yet"):
        export_portable(recipe(), data, portable[0])
    with pytest.raises(InputError, match="`workdir` must be a folder that is not there yet"):
        collect_run(PortableResults(portable[0]), collected[0], data)
    other = load_dataset("digits", **{**DATA, "train_examples": 70})
    with pytest.raises(InputError, match="exported with different train images"):
        collect_run(PortableResults(portable[0]), Workdir(tmp_path / "run"), other)
    folder = tmp_path / "folder"
    shutil.copytree(portable[0], folder, ignore=without_results)
    with pytest.raises(InputError, match="has no teacher trained for at least one epoch"):
        collect_run(PortableResults(folder), Workdir(tmp_path / "run"), data)
    (folder / "recipe.flags").write_text((folder / "recipe.flags").read_text() + "\n")
    with pytest.raises(InputError, match=r"recipe.flags is missing or was changed"):
        PortableResults(folder)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_weights_that_a_training_begins_with_are_not_drawn_anew(data, tmp_path):
    build_model("tiny", image_shape=(8, 8, 1), num_classes=10, seed=5).save(tmp_path / "own.keras")

    def drawn(name, **settings):
        export_portable(recipe(**settings), data, tmp_path / name, attacks=(), draw_weights=True)
        stages = json.loads((tmp_path / name / "portable.json").read_text())["stages"]
        return [sum("std" in entry for entry in stage["state"]) for stage in stages]

    assert drawn("fresh") == [1, 0]  # the student's are the teacher's
    assert drawn("own", model=str(tmp_path / "own.keras")) == [0, 0]


def test_a_bounded_pool_is_refused(data, tmp_path):
    with pytest.raises(InputError, match="leave out `pool_capacity`"):
        export_portable(recipe(pool_capacity=2, init_from_teacher=False), data, pathlib.Path(tmp_path / "folder"))


def test_a_training_that_would_end_where_it_overfits_is_refused(data, tmp_path):
    settings = {"init_from_teacher": False, "on_overfitting": "stop"}
    with pytest.raises(InputError, match="`on_overfitting='stop'`: a portable training does not watch"):
        export_portable(recipe(**settings), data, pathlib.Path(tmp_path / "folder"))


def test_the_command_lines_export_run_and_collect(tool, tmp_path):
    recipe, folder, workdir = tmp_path / "recipe.flags", tmp_path / "portable", tmp_path / "run"
    recipe.write_text("--model=tiny\n--defense=undefended\n--batch_size=8\n--epochs=1\n--decay_epochs=\n")
    size = ("--image_size=8", "--train_examples=40", "--validation_examples=20")
    shown = tool("laboratory.portable", "export", str(recipe), *size, f"--output={folder}", "--attacks=clean").stdout
    assert "student_step" in shown
    assert f"python {folder}/run.py {folder}" in shown
    early = tool("laboratory.portable", "collect", str(folder), f"--workdir={workdir}")
    assert early.returncode == 2
    early = early.stderr
    assert "has no student trained for at least one epoch: `python -m tools.laboratory.portable run" in early
    assert "student: epoch 1 of 1" in tool("laboratory.portable", "run", str(folder)).stdout
    shown = tool("laboratory.portable", "collect", str(folder), f"--workdir={workdir}").stdout
    assert "  clean " in shown
    again = tool("evaluate", f"--workdir={workdir}", "--attacks=clean").stdout
    assert shown[shown.index("  clean ") :].splitlines()[0] in again
    for arguments, message in (
        (("export", str(recipe)), "`output`, the folder to write, is needed: --output=DIR"),
        (("export",), "`export` takes one recipe, a flagfile. Received: none"),
        (("collect", str(folder)), "`workdir`, the folder of the run to make, is needed"),
        (("collect", str(tmp_path / "none"), "--workdir=x"), "is not a portable folder"),
    ):
        refused = tool("laboratory.portable", *arguments)
        assert refused.returncode == 2
        assert message in refused.stderr
