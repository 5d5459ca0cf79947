"""The command lines, as a user meets them."""

import json
import os
import platform
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.evaluation import SIGNS
from agkd_tf.models import build_model
from tests.processes import ROOT


def test_train_evaluate_export_in_one_folder(tmp_path, tool, small):
    run = tmp_path / "a run, ü"
    # A mistake costs nothing: neither the folder nor a teacher's training.
    mistaken = tool("train", *small, "--defense=agkd_bml", f"--workdir={run}", "--label_smoothing=0.95")
    assert mistaken.returncode == 2
    assert "label_smoothing" in mistaken.stderr
    assert not run.exists()
    trained = tool("train", *small, "--defense=agkd_bml", "--panel_every=1", f"--workdir={run}")
    assert trained.returncode == 0, trained.stderr
    assert re.search(r"^ +1/1 +\d+\.\d{4} +\d+\.\d\d % +\d+\.\d\d % ", trained.stdout, re.MULTILINE)
    assert trained.stderr == ""
    again = tool("train", f"--flagfile={run}/flags.txt")
    assert again.returncode == 0, again.stderr
    changed = tool("train", f"--flagfile={run}/flags.txt", "--margin=0.5", "--seed=4")
    assert changed.returncode == 2
    assert "`margin`: recorded 0.03, received 0.5" in changed.stderr
    assert "`seed`: recorded 0, received 4" in changed.stderr
    evaluated = tool("evaluate", f"--workdir={run}", "--attacks=clean,pgd-2", "--num_examples=20")
    assert evaluated.returncode == 0, evaluated.stderr
    record = json.loads((run / "evaluation.json").read_text())["attacks"]["pgd-2 [first 20]"]
    assert record["num_examples"] == 20
    assert record["attack"][0]["eps"] == pytest.approx(38 / 255)
    assert record["confidence_interval_95"][0] <= record["accuracy"] <= record["confidence_interval_95"][1]
    exported = tool("export", f"--workdir={run}")
    assert exported.returncode == 0, exported.stderr
    assert (run / "saved_model" / "saved_model.pb").is_file()
    reported = tool("report", run, run / "teacher", f"--output={tmp_path}/report", "--tables=6a", "--title=Über uns")
    assert reported.returncode == 0, reported.stderr
    report = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert f"{100 * record['accuracy']:.2f}" in report
    assert f"tools.evaluate --workdir='{run}/teacher'" in report
    assert "Über uns" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    names = {f"{table}.{suffix}" for table in ("all_runs", "table_6a") for suffix in ("csv", "tex")}
    assert {path.name for path in (tmp_path / "report").iterdir()} == names | {"report.md", "report.html"}
    sampled = tool("sample_images", "--dataset=digits", f"--output={tmp_path}/images", "--count=2")
    assert sampled.returncode == 0, sampled.stderr
    images = sorted((tmp_path / "images").glob("*.png"))
    classified = tool("classify", run / "saved_model", *images)
    assert classified.returncode == 0, classified.stderr
    pixels = np.stack([keras.utils.img_to_array(keras.utils.load_img(path, color_mode="grayscale")) for path in images])
    student = keras.saving.load_model(run / "student.keras", compile=False)
    for path, seen in zip(images, student.predict(pixels / 255, verbose=0).argmax(1), strict=True):
        assert f"{path}: class {seen} " in classified.stdout
    source = (f"--saved_model={run}/saved_model", "--dataset=digits", "--eps=38/255", f"--record={tmp_path}/other.json")
    settings = ("--attacks=pgd-2", "--num_examples=20", f"--adversaries={tmp_path}/adversaries")
    served = tool("evaluate", *source, *settings)
    assert served.returncode == 0, served.stderr
    other = json.loads((tmp_path / "other.json").read_text())["attacks"]["pgd-2 [linf 38/255, first 20]"]
    assert other["accuracy"] == record["accuracy"]
    verified = tool("evaluate", *source, *settings, "--verify")
    assert verified.returncode == 0, verified.stderr
    assert f"{other['accuracy']:.2%}, as recorded" in verified.stdout
    (saved,) = (tmp_path / "adversaries").glob("*.npy")
    images = np.load(saved)
    np.save(saved, np.zeros_like(images))
    refuted = tool("evaluate", *source, *settings, "--verify")
    assert refuted.returncode == 1
    assert "adversary 0 is not within" in refuted.stderr


def test_results_that_are_there_are_not_computed_again_and_settings_have_results_of_their_own(tmp_path, tool, small):
    run = tmp_path / "run"
    trained = tool("train", *small, "--defense=undefended", f"--workdir={run}")
    assert trained.returncode == 0, trained.stderr
    common = (f"--workdir={run}", "--num_examples=12", "--attacks=clean,fgsm")
    first = tool("evaluate", *common)
    assert first.returncode == 0, first.stderr
    assert "worst case" in first.stdout
    seconds = json.loads((run / "evaluation.json").read_text())["attacks"]["fgsm [first 12]"]["seconds"]
    transferred = (f"--attacks=transfer:{run}", "--transfer_attack=fgsm")
    for more in ((), ("--eps=4/255",), ("--norm=l2", "--eps=1.5"), ("--seed=3",), transferred):
        again = tool("evaluate", *common, *more)
        assert again.returncode == 0, again.stderr
    results = json.loads((run / "evaluation.json").read_text())["attacks"]
    assert results["fgsm [first 12]"]["seconds"] == seconds
    # What is crafted on a network itself is the white-box attack.
    assert results[f"transfer:{run} by fgsm [first 12]"]["accuracy"] == results["fgsm [first 12]"]["accuracy"]
    assert {"fgsm [linf 4/255, first 12]", "fgsm [l2 1.5, first 12]", "fgsm [seed 3, first 12]"} <= set(results)
    more = tool(
        "evaluate",
        *common[:1],
        "--num_examples=24",
        f"--attacks=clean,pgd-2,transfer:{run}",
        "--knn",
        "--neighbors=3",
        "--audit",
        "--audit_examples=20",
        "--eps_sweep=4/255,0,1",
        "--sweep_attack=pgd-2",
        "--batch_size=24",
    )
    assert more.returncode == 0, more.stderr
    assert all("no better than chance" in line for line in more.stderr.splitlines())  # it is hardly trained
    for sign in SIGNS:
        assert sign in more.stdout
    content = json.loads((run / "evaluation.json").read_text())
    (audit,) = (section for name, section in content.items() if name.startswith("audit [first 24] on 20, transfer:"))
    assert [sign["name"] in SIGNS for sign in audit["signs"]] == [True] * len(SIGNS)
    results = content["attacks"]
    assert results["pgd-2 [first 24]"]["knn-3"]["reference_examples"] == 64
    assert {"clean [first 24]", "pgd-2 [first 24]"} < set(content["worst_case [first 24]"]["over"])
    sweep = content["eps_sweep pgd-2 linf [first 24]"]
    assert sweep["eps"] == pytest.approx([0, 4 / 255, 1])
    assert sweep["accuracy"][0] >= sweep["accuracy"][2]
    assert sweep["accuracy"][0] == results["clean [first 24]"]["accuracy"]
    assert (run / "evaluation_eps_sweep_pgd-2_linf_first_24.png").read_bytes().startswith(b"\x89PNG")
    # Another size joins the curve, what was found stays; nothing but it is computed.
    written = (run / "adversaries" / "pgd-2 [first 24].npy").stat().st_mtime_ns
    wider = tool(
        "evaluate", *common[:1], "--num_examples=24", "--attacks=", "--eps_sweep=8/255", "--sweep_attack=pgd-2"
    )
    assert wider.returncode == 0, wider.stderr
    after = json.loads((run / "evaluation.json").read_text())
    assert after["eps_sweep pgd-2 linf [first 24]"]["eps"] == pytest.approx([0, 4 / 255, 8 / 255, 1])
    assert after["attacks"].items() >= results.items()
    assert (run / "adversaries" / "pgd-2 [first 24].npy").stat().st_mtime_ns == written
    wrong = tool("evaluate", *common[:2], "--attacks=pgd")
    assert wrong.returncode == 2
    assert "autoattack" in wrong.stderr
    mixed = tool("evaluate", *common, "--eps_sweep=1/255,x")
    assert mixed.returncode == 2
    assert "`eps_sweep`" in mixed.stderr
    assert len(mixed.stderr.strip().splitlines()) == 1
    large = tool("evaluate", *common, "--eps=8")
    assert large.returncode == 2
    assert "8/255" in large.stderr
    beyond = tool("evaluate", *common, f"--seed={2**31}")  # a seed of TensorFlow's is an int32
    assert beyond.returncode == 2
    assert f"--seed={2**31}: `seed` must be in [0, " in beyond.stderr


MISTAKES = {
    "unknown flag": (["--workdr=x"], "workdir"),
    "unknown defense": (["--defense=x"], "`defense` must be one of undefended, at, alp, sml, bilateral"),
    "eps in pixels": (["--eps=8"], "8/255"),
    "not UTF-8": (
        ["--workdir=FOLDER/\udcff", "--model=wrn-10-1"],
        "arguments must be printable text in UTF-8. Received: ",
    ),
    "a stranger's data": (
        ["--dataset=huggingface:mnist", "--dry_run"],
        "without a namespace. Received: 'huggingface:mnist'",
    ),
    "missing flagfile": (["--flagfile=missing.flags"], "missing.flags"),
    "unknown network": (["--model=lenet", "--dry_run"], "wrn-DEPTH-WIDTH"),
    "contradiction": (["--defense=at", "--mart", "--dry_run"], "does not apply to --defense=at"),
    "no workdir": ([], "workdir"),
    "missing data": (["--dataset=cifar10", "--data_dir=/nowhere", "--dry_run"], "data_dir"),
    "missing teacher": (
        ["--teacher=/nowhere", "--workdir=/tmp/unused", "--model=wrn-10-1"],
        "`teacher` must be a run's folder",
    ),
    "teacher of another recipe, not trained": (
        ["--flagfile=flags/cifar10_small/agkd_bml_robust.flags", "--workdir=/tmp/unused"],
        "train it first: python -m tools.train --flagfile=flags/cifar10_small/robust_teacher.flags --workdir=",
    ),
    "a disk for what needs none": (["--images_dir=FOLDER", "--dry_run"], "`images_dir` is for data sets that are read"),
    "no time": (["--checkpoint_every_minutes=nan", "--dry_run"], "`checkpoint_every_minutes` must be a finite number"),
    "stray word": (["train"], "only flags are allowed"),
    "not a number": (["--learning_rate=nan", "--dry_run"], "`learning_rate` must be a finite number. Received: nan"),
    "negative": (["--weight_decay=-1"], "weight_decay"),
    "batch larger than the data": (["--batch_size=5000", "--dry_run"], "`batch_size` must be in [1, "),
    "one class": (["--dataset=image_folder:FOLDER/one", "--dry_run"], "at least two classes"),
    "flagfile of no text": (["--flagfile=FOLDER/bytes"], "`flagfile` cannot be read"),
    "file in the run's place": (["--workdir=FOLDER/bytes", "--model=wrn-10-1"], "`workdir` must be a folder"),
    "teacher of other classes": (
        ["--teacher=FOLDER/classes.keras", "--workdir=FOLDER/run", "--model=wrn-10-1"],
        "`teacher` has other weights than the student: wrn_10_1 for images (16, 16, 1) of 7 classes; the student is",
    ),
    "teacher of other images": (
        ["--teacher=FOLDER/images.keras", "--workdir=FOLDER/run", "--model=wrn-10-1"],
        "takes images (8, 8, 1), the student (16, 16, 1)",
    ),
    "damaged teacher": (
        ["--teacher=FOLDER/bytes.keras", "--workdir=FOLDER/run", "--model=wrn-10-1"],
        "cannot be read",
    ),
}


@pytest.fixture(scope="module")
def oddities(tmp_path_factory):
    """A folder, with a space and an umlaut, of what no run can be made of."""
    folder = tmp_path_factory.mktemp("odd") / "viele Dinge für Ä"
    for split in ("train", "test"):
        (folder / "one" / split / "cat").mkdir(parents=True)
        image = tf.io.encode_png(np.zeros((8, 8, 3), np.uint8)).numpy()
        (folder / "one" / split / "cat" / "1.png").write_bytes(image)
    for name in ("bytes", "bytes.keras"):
        (folder / name).write_bytes(bytes(range(256)))
    build_model("wrn-10-1", image_shape=(16, 16, 1), num_classes=7).save(folder / "classes.keras")
    build_model("wrn-10-1", image_shape=(8, 8, 1), num_classes=10).save(folder / "images.keras")
    return folder


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(name, tmp_path, tool, oddities):
    arguments, expected = MISTAKES[name]
    places = {"/tmp/unused": str(tmp_path), "FOLDER": str(oddities)}
    for place, path in places.items():
        arguments = [argument.replace(place, path) for argument in arguments]
        expected = expected.replace(place, path)
    result = tool("train", *arguments)
    assert result.returncode == 2, result.stderr
    assert expected in result.stderr, result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr


def test_a_training_that_ends_in_nan_is_one_line_and_exit_code_1(tmp_path, tool, small):
    run = tmp_path / "run"
    stopped = tool("train", *small, "--defense=at", "--learning_rate=1e30", f"--workdir={run}")
    assert stopped.returncode == 1, stopped.stderr
    (line,) = stopped.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert "became NaN or infinite at step 2: training stopped" in line
    assert not (run / "student.keras").exists()


def test_a_dry_run_prints_sizes_and_trains_nothing(tmp_path, tool):
    result = tool("train", "--flagfile=flags/digits/agkd_bml.flags", "--dry_run", f"--workdir={tmp_path}/run")
    assert result.returncode == 0, result.stderr
    for word in ("--attack_steps=10", "Parameters:", "Steps:", "Memory:"):
        assert word in result.stdout
    assert not (tmp_path / "run").exists()


def test_a_command_line_of_its_own_is_quiet_and_has_onednn():
    """In a new interpreter, as a user's: TensorFlow speaks, and decides about oneDNN, when it is imported."""
    ours = ("TF_", "KERAS_", "CUDA_")  # what the tests have set
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    command = [sys.executable, "-m", "tools.train", "--flagfile=flags/digits/at.flags", "--model=wrn-10-1", "--dry_run"]
    shown = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert (shown.returncode, shown.stderr) == (0, "")
    if platform.machine().lower() in ("x86_64", "amd64"):
        assert re.search("^oneDNN: +on$", shown.stdout, re.MULTILINE)
