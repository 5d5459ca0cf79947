"""The README's ten lines run as they stand, and tables and links of all pages are whole."""

import gc
import pathlib
import re

import keras
import numpy as np
import pytest

from agkd_tf.models import build_model
from agkd_tf.models.forward_pass import activation_bytes, forward_flops
from agkd_tf.report import TABLES
from agkd_tf.training.plan import KEPT
from tools.laboratory import minimum_flops

ROOT = pathlib.Path(__file__).resolve().parents[1]


def code_blocks():
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def shortened(code):
    return code.replace("epochs=20", "epochs=1").replace("batch_size=128", "batch_size=64")


def test_the_ten_lines_defend_a_saved_classifier(digits, tmp_path, monkeypatch):
    code, *_ = code_blocks()
    assert len(code.strip().splitlines()) <= 10
    monkeypatch.chdir(tmp_path)
    build_model("wrn-10-1", image_shape=(16, 16, 1), num_classes=10).save("my_classifier.keras")
    names = {"x_train": digits.train.images[:128], "y_train": digits.train.labels[:128]}
    exec(shortened(code), names)
    assert (tmp_path / "defended.keras").is_file()
    trained = names["model"].weights[0].numpy()
    assert np.any(trained != names["defense"].teacher.weights[0].numpy())


def test_a_network_of_bytes_is_defended_evaluated_and_saved(digits, tmp_path, monkeypatch):
    _, code, _ = code_blocks()
    monkeypatch.chdir(tmp_path)
    layers = keras.layers
    stack = [layers.Rescaling(1 / 255), layers.Conv2D(4, 3, 2), layers.Flatten(), layers.Dense(10, "softmax")]
    keras.Sequential([keras.Input((16, 16, 1)), *stack]).save("of_bytes.keras")
    names = {"x_train": digits.train.images[:128], "y_train": digits.train.labels[:128]}
    names |= {"x_test": digits.test.images[:40], "y_test": digits.test.labels[:40]}
    exec(shortened(code), names)
    low, high = names["result"]["pgd-20"].interval
    assert low <= names["result"]["pgd-20"].accuracy <= high
    before, after = (keras.saving.load_model(name) for name in ("of_bytes.keras", "defended_of_bytes.keras"))
    images = digits.test.images[:40].astype(np.float32)
    assert np.abs(after(images) - before(images)).max() > 1e-3
    softmax = keras.ops.softmax(names["adapted"](images / 255))
    np.testing.assert_allclose(after(images), softmax, rtol=1e-4, atol=1e-6)


def test_a_network_is_evaluated_attacked_and_audited(digits, capsys):
    *_, code = code_blocks()
    layers = keras.layers
    model = keras.Sequential([keras.Input((16, 16, 1)), layers.AveragePooling2D(4), layers.Flatten(), layers.Dense(10)])
    x_test = digits.test.images[:8]
    seen = model.predict(x_test / np.float32(255), verbose=0).argmax(1)
    # AutoAttack looks at the one image that is classified correctly.
    names = {"model": model, "x_test": x_test, "y_test": np.where(np.arange(8), (seen + 1) % 10, seen)}
    exec(code, names)
    printed = capsys.readouterr().out
    assert re.search(r"^  clean +12\.50%", printed, re.MULTILINE)
    assert re.search(r"^  worst case of 3 ", printed, re.MULTILINE)
    assert "Signs of masked gradients, on 8 images:" in printed
    moved = np.sqrt(np.sum((names["adversarial"] - x_test / np.float32(255)) ** 2, axis=(1, 2, 3)))
    np.testing.assert_allclose(moved.max(), 8 / 255, rtol=0.01)


def test_the_table_names_every_recipe_in_the_row_of_its_defense_and_no_other():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    (start,) = [number for number, line in enumerate(lines) if line.startswith("| `--defense` |")]
    columns = re.findall(r"`(\w+)`", lines[start])
    named = set()
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells = line.strip("|").split("|")
        defenses = set(re.findall(r"`(\w+)(?: --mart)?`", cells[0]))
        for dataset, cell in zip(columns, cells[2:], strict=True):
            for recipe in re.findall(r"`(\w+)`", cell):
                text = (ROOT / "flags" / dataset / f"{recipe}.flags").read_text(encoding="utf-8")
                assert re.search(r"--defense=(\w+)", text).group(1) in defenses
                named.add((dataset, recipe))
    recipes = [path for path in (ROOT / "flags").rglob("*.flags") if path.parent.name != "base"]
    assert named == {(path.parent.name, path.stem) for path in recipes}


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=lambda page: page.name)
def test_each_link_and_picture_leads_to_a_file(page):
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        path = link.partition("#")[0]
        assert re.match("https?:", link) or (page.parent / path).is_file(), link


def test_each_table_and_figure_of_the_supplement_has_its_command():
    rows = re.findall(r"^\| ([^|]+) \|[^|]+\| (.*) \|$", (ROOT / "docs" / "tables.md").read_text("utf-8"), re.MULTILINE)
    commands = {name: command for name, command in rows if name.startswith(("Table", "Figure"))}
    numbers = dict.fromkeys(re.sub("(?<=6)[abc]", "", table.number) for table in TABLES)
    assert list(commands) == [*(f"Table {number}" for number in numbers), "Figures 1, 2", "Figures 3, 4"]
    for number in numbers:
        assert re.search(rf"^`python -m tools.report .* --tables={number}`$", commands[f"Table {number}"])


def test_the_table_to_plan_by_is_what_the_networks_are():
    rows = re.findall(r"^\| `([\w-]+)` \| (\d+)x\d+ \|(.*)\|$", (ROOT / "BUILD.md").read_text("utf-8"), re.MULTILINE)
    assert len(rows) == 6
    for name, size, cells in rows:
        gc.collect()  # of the network before, hundreds of MiB
        classes = 200 if size == "64" else 10
        model = build_model(name, image_shape=(int(size), int(size), 3), num_classes=classes)
        total = model.count_params()
        trainable = sum(np.prod(weight.shape) for weight in model.trainable_weights)
        expected = [
            total / 1e6,
            sum(flops for _, flops in forward_flops(model)) / 1e9,
            *(minimum_flops(model, attack_steps=steps) / 1e9 for steps in (2, 10)),
            4 * (2 * total + 2 * trainable) / 2**20,
            3 * KEPT * activation_bytes(model) / 2**20,
        ]
        for cell, value in zip(cells.split("|"), expected, strict=True):
            decimals = len(cell.strip().partition(".")[2])
            assert float(cell.replace(",", "")) == pytest.approx(value, abs=0.51 * 10**-decimals), (name, cell)
