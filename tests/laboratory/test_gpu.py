import gzip
import hashlib
import json
import pathlib
import subprocess
import sys
import types
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.errors import InputError
from agkd_tf.intervals import wilson_interval
from agkd_tf.training import Recipe, read_recipe
from agkd_tf.training.recipe_file import write_recipe
from tools.laboratory.gpu import budget, contents, errors, measure, prepare, prepared, records, report, steps, study

ROOT = pathlib.Path(__file__).parents[2]
NOISE = np.random.default_rng(0).bytes(1000)  # does not compress
PICTURES = [bytes([number]) * (100 + 100 * number) for number in range(3)]  # lengths of one byte and of two


def example(number):
    features = {
        "id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[f"train_{number}".encode()])),
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[PICTURES[number]])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[number])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


@pytest.fixture
def file_of_records(tmp_path):
    path = tmp_path / "set-train.tfrecord-00000-of-00001"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number in range(len(PICTURES)):
            writer.write(example(number))
    return path


def test_records_are_read_as_tensorflow_wrote_them(file_of_records):
    found = [records.features(record) for record in records.records(file_of_records.read_bytes())]
    assert [each["image"] for each in found] == PICTURES
    assert [each["id"] for each in found] == [b"train_0", b"train_1", b"train_2"]
    assert "label" not in found[0]  # of integers


def test_a_file_that_is_cut_off_is_told(file_of_records):
    with pytest.raises(errors.MeasureError, match="cut off"):
        list(records.records(file_of_records.read_bytes()[:-5]))


def test_images_are_made_from_records_and_checked(file_of_records, tmp_path, monkeypatch):
    def decode(pictures, decoder):
        return np.array([picture[0] for picture in pictures], np.uint8).reshape(-1, 1, 1, 1)

    monkeypatch.setattr(prepared, "decode", decode)
    folder = tmp_path / "gpu"
    for name in ("arrays", "records"):
        (folder / name).mkdir(parents=True)
    (folder / "run.py").write_text("")
    (folder / "records" / "train.gz").write_bytes(gzip.compress(file_of_records.read_bytes()))
    images = np.array([2, 0], np.uint8)
    digest = hashlib.sha256(images.tobytes()).hexdigest()
    rows = prepare._write_array(folder, np.array([2, 0], np.int32))
    plan = {"records": {"train": ["train.gz"]}, "images": {digest: {"split": "train", "rows": rows, "count": 2}}}
    (folder / "plan.json").write_text(json.dumps(plan))
    work = tmp_path / "work"
    prepared.Prepared(folder, work).make_arrays()
    assert (work / "arrays" / digest).read_bytes() == images.tobytes()
    (work / "arrays" / digest).unlink()
    monkeypatch.setattr(prepared, "decode", lambda *given: decode(*given) + 1)
    with pytest.raises(errors.MeasureError, match="decoded differently"):
        prepared.Prepared(folder, work).make_arrays()
    assert not (work / "arrays" / digest).exists()


@pytest.mark.parametrize(
    ("seconds", "available", "epochs"), [(1.0, 24.0, 24), (1.0, 23.9, 16), (10.0, 99.0, None), (0.1, 100.0, 40)]
)
def test_the_longest_training_that_fits_is_taken(seconds, available, epochs):
    assert budget.longest([10, 16, 24, 40], seconds, available) == epochs


def test_a_budget_keeps_time_for_its_closing():
    now = [100.0]
    own = budget.Budget(60.0, lambda: now[0])
    assert own.left == 60.0 - budget.CLOSING
    now[0] += 30.0
    assert (own.spent, own.left) == (30.0, 30.0 - budget.CLOSING)
    assert own.fits(30.0 - budget.CLOSING)
    assert not own.fits(30.1 - budget.CLOSING)


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (7, 10), (1000, 1000), (4321, 10000)])
def test_intervals_are_the_librarys(successes, trials):
    assert report.wilson(successes, trials) == pytest.approx(tuple(wilson_interval(successes, trials)), abs=1e-9)


def test_a_length_is_that_of_the_description_and_of_the_recipe(tmp_path):
    recipe = Recipe(schedule="one_cycle", epochs=40, teacher_epochs=30)
    write_recipe(tmp_path / "recipe.flags", recipe)
    stages = [{"name": name, "epochs": 0, "learning_rates": None} for name in ("teacher", "student")]
    description = {"stages": stages}
    rates = {"teacher": {"5": {"sha256": "a"}}, "student": {"16": {"sha256": "b"}}}
    text = prepared.with_lengths(
        description, (tmp_path / "recipe.flags").read_text(), {"teacher": 5, "student": 16}, rates
    )
    assert [(stage["epochs"], stage["learning_rates"]["sha256"]) for stage in stages] == [(5, "a"), (16, "b")]
    (tmp_path / "recipe.flags").write_text(text)
    assert read_recipe(tmp_path / "recipe.flags") == Recipe(schedule="one_cycle", epochs=16, teacher_epochs=5)


def test_a_folder_with_one_stage_takes_its_own_length(tmp_path):
    write_recipe(tmp_path / "recipe.flags", Recipe(defense="at", schedule="one_cycle", epochs=40))
    description = {"stages": [{"name": "student", "epochs": 0, "learning_rates": None}]}
    lengths, rates = {"teacher": 5, "student": 16}, {"student": {"16": {"sha256": "b"}}}
    text = prepared.with_lengths(description, (tmp_path / "recipe.flags").read_text(), lengths, rates)
    assert description["stages"][0]["epochs"] == 16
    assert "--epochs=16\n" in text


def test_a_line_of_a_study_may_stand_for_three_seeds(tmp_path):
    path = tmp_path / "study.txt"
    path.write_text("# a comment\n\nbest_{seed}: flags/a.flags --seed={seed} --ema=0.9\nother: flags/b.flags\n")
    assert contents.read_study(path) == {
        **{f"best_{seed}": [f"--flagfile={ROOT}/flags/a.flags", f"--seed={seed}", "--ema=0.9"] for seed in range(3)},
        "other": [f"--flagfile={ROOT}/flags/b.flags"],
    }


def test_the_trainings_of_the_study_are_valid_and_different():
    found = {}
    for name, (flagfile, *more) in contents.read_study(contents.STUDY).items():
        recipe = read_recipe(flagfile.partition("=")[2], more)
        assert (recipe.dataset, recipe.train_examples) == ("cifar10", 10000)
        found[name] = json.dumps(recipe.settings(), sort_keys=True)
    assert len(set(found.values())) == len(found)


def test_a_study_without_its_robust_teachers_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^the study starts from runs/study/robust_teacher_0, .*--nostudy$"):
        prepare.prepare(tmp_path, contents.full())
    assert not list(tmp_path.iterdir())


@pytest.fixture
def studied(tmp_path, monkeypatch):
    """Three trainings whose workers are stubs; yields a function that runs the study and returns its report."""
    folder, output = tmp_path / "gpu", tmp_path / "found"
    folder.mkdir()
    (folder / "run.py").write_text("")
    entries = [{"name": name, "folder": f"study_{name}"} for name in ("first", "second", "broken")]
    plan = {"study": entries, "study_evaluations": [["clean", 10]]}
    (folder / "plan.json").write_text(json.dumps(plan))
    ready = prepared.Prepared(folder, tmp_path / "work")

    def made(name):
        path = tmp_path / "work" / name
        (path / "results").mkdir(parents=True, exist_ok=True)
        for file in ("recipe.flags", "portable.json", "results/student.npz", "results/attack_clean_10.npz"):
            (path / file).write_bytes(NOISE)
        if "broken" in name:
            (path / "results" / "student.npz").unlink()
        return types.SimpleNamespace(path=path)

    monkeypatch.setattr(ready, "folder", made)

    class Worker:
        def __init__(self, name, command, log):
            assert command[-1] == "--worker=study"

        def ask(self, name, seconds, begins):
            found = {"name": name, "attacks": {"clean": 0.5}, "train_seconds": 2.0, "epochs": 3}
            return "study " + json.dumps({"error": "it broke"} if name == "broken" else found)

        def close(self):
            pass

    monkeypatch.setattr(study, "Contestant", Worker)

    def run(names, workers=1):
        own = report.Report(output, plan, budget.Budget(60.0))
        own.begin("d")
        study.run_study(ready, own, budget.Budget(60.0), tmp_path / "work", names, workers)
        return own

    return run


def test_a_study_runs_in_the_order_given_and_tells_failures(studied):
    own = studied(["second", "broken", "first"])
    assert [each["name"] for each in own.study] == ["second", "first"]
    assert own.failed
    assert own.notes["d"] == ["broken: it broke"]
    assert "| second | 3 | 2 | 50.00 |" in own.text()
    with zipfile.ZipFile(own.output / "study_0.zip") as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {"first", "second"}
        assert archive.read("first/results/attack_clean_10.npz") == NOISE


def test_each_network_of_a_study_is_trained_once_by_several_workers(studied):
    own = studied(["first", "second"], workers=5)
    assert sorted(each["name"] for each in own.study) == ["first", "second"]


def test_archives_of_a_study_stay_within_what_can_travel(studied, monkeypatch):
    monkeypatch.setattr(study, "LARGEST_FILE", 4500)
    own = studied(["first", "second"])
    assert [path.name for path in sorted(own.output.glob("*.zip"))] == ["study_0.zip", "study_1.zip"]
    monkeypatch.setattr(study, "LARGEST", 5000)
    for largest_file in (4500, 10**6):  # the second network would begin a file, or join the first one's
        monkeypatch.setattr(study, "LARGEST_FILE", largest_file)
        own = studied(["first", "second"])
        assert [path.name for path in own.output.glob("*.zip")] == ["study_0.zip"]
        assert own.notes["d"] == ["for lack of room, some are not in the archives: --study=second fetches them"]


def contestant(tmp_path, program):
    return steps.Contestant("peer", [sys.executable, "-c", program], tmp_path / "log.txt")


def test_a_contestant_measures_once_a_line(tmp_path):
    program = "import sys; print('ready', flush=True)\nfor line in sys.stdin: print('jax:', line.strip(), flush=True)"
    peer = contestant(tmp_path, program)
    assert peer.answer(30, "ready") == "ready"
    assert [peer.ask(text, 30, "jax") for text in ("a", "b")] == ["jax: a", "jax: b"]
    with pytest.raises(errors.OutOfTimeError, match="no answer after 0 s"):
        peer.answer(0.1, "ready")
    peer.close()


def test_a_contestant_that_fails_says_why(tmp_path):
    peer = contestant(tmp_path, "raise SystemExit('out of memory')")
    with pytest.raises(errors.MeasureError, match="peer: out of memory"):
        peer.answer(30, "ready")
    peer.close()


def test_goals_are_judged_by_the_rounds():
    plan = {"timing": [{"name": "bfloat16", "batch_size": 128, "minimum_flops": 10**12}], "matrix": 1000}
    report = type("Report", (), {})()
    found = {
        "bfloat16": [0.1, 0.1, 0.1],
        "matrix product, bfloat16": [0.001, 0.001, 0.001],
        "PyTorch, float32": [0.19, 0.21, 0.22],
        "PyTorch, channels_last, bfloat16, compiled": [0.11, 0.11, 0.13],
    }
    steps._enter_steps(report, plan, found, dict.fromkeys(found))
    assert [goal["met"] for goal in report.goals] == ["yes", "no", "yes"]  # 39.1 s an epoch
    assert report.goals[0]["measured"] == "2.10 (1.90-2.20)"
    assert report.steps[0]["share"] == pytest.approx([10**13 / 2e12] * 3)


def test_the_slowest_kernels_are_of_the_gpus_streams():
    def named(name, **more):
        return type("Named", (), {"name": name} | more)()

    def event(name, milliseconds):
        return named(name, duration_ns=milliseconds * 1e6, stats=[("hlo_op", "x")])

    stream = named("Stream #1", events=[event("conv", 30), event("conv", 30), event("add", 20), event("copy", 20)])
    planes = [
        named("/device:GPU:0", lines=[stream, named("XLA Ops", events=[event("conv", 60)])]),
        named("/host:CPU", lines=[named("python", events=[event("main", 500)])]),
    ]
    assert steps.slowest(planes, 2, 1) == [("conv", pytest.approx(0.03), pytest.approx(0.6))]
    assert steps.slowest(planes[1:], 1) == [("main", pytest.approx(0.5), pytest.approx(1.0))]


def test_measuring_needs_neither_tensorflow_nor_this_projects_library():
    program = (
        "import runpy, sys\n"
        "for name in ('tensorflow', 'keras', 'absl', 'agkd_tf', 'torch'):\n"
        "    sys.modules[name] = None\n"
        "runpy.run_module('tools.laboratory.gpu.measure', run_name='measure')\n"
        "print('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"  # a worker begins without it


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--parts=e"], "--parts must be among a, b, c, d. Received: e"),
        (["--minutes=0.1"], "--minutes must be more than 0.17"),
        ([], "makes one"),
    ],
)
def test_what_cannot_be_measured_is_one_line(tmp_path, capsys, arguments, expected):
    assert measure.main([str(tmp_path / "gpu"), f"--output={tmp_path / 'found'}", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line


@pytest.mark.parametrize(
    ("plan", "arguments", "expected"),
    [
        ({}, [], "was prepared by another version of this project: prepare it again"),
        ({"study": [{"name": "at"}]}, ["--study=at,bml"], "--study must be among at. Received: at,bml"),
        ({"study": [{"name": "at"}]}, ["--workers=0"], "--workers must be at least 1. Received: 0"),
    ],
)
def test_a_study_that_cannot_be_measured_is_one_line(tmp_path, capsys, plan, arguments, expected):
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    (tmp_path / "run.py").write_text("")
    assert measure.main([str(tmp_path), f"--output={tmp_path / 'found'}", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line


def test_a_network_that_is_named_twice_is_trained_once(tmp_path, monkeypatch):
    plan = {"study": [{"name": name} for name in ("at", "bml")]}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    (tmp_path / "run.py").write_text("")
    taken = []
    monkeypatch.setattr(prepared.Prepared, "make_arrays", lambda self: None)
    monkeypatch.setattr(report.Report, "write", lambda self: None)
    monkeypatch.setattr(measure, "run_study", lambda *_, names, workers: taken.extend(names))
    assert measure.main([str(tmp_path), f"--output={tmp_path / 'found'}", "--parts=d", "--study=bml,at,bml"]) == 0
    assert taken == ["bml", "at"]
