"""What README's ten lines and other blocks of Python make, and tables and links of all pages are whole."""

import gc
import re

import keras
import numpy as np
import pytest

from agkd_tf.models import build_model
from agkd_tf.models.forward_pass import activation_bytes, forward_flops
from agkd_tf.report import TABLES
from agkd_tf.training.plan import KEPT
from tests.documentation import PAGES, ROOT, name_of, python_blocks
from tests.readme import prepared, shortened
from tools.laboratory.floating_point import minimum_flops


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Returns run(text): what the first block of Python with this text makes in an empty folder, by name."""
    monkeypatch.chdir(tmp_path)

    def execute(text):
        code = next(block.text for page in PAGES for block in python_blocks(page) if text in block.text)
        names = prepared(code)
        exec(shortened(code), names)
        return names

    return execute


def test_the_ten_lines_defend_a_saved_classifier(run, tmp_path):
    code, *_ = python_blocks(ROOT / "README.md")
    assert len(code.text.strip().splitlines()) <= 10
    names = run(code.text)
    assert (tmp_path / "defended.keras").is_file()
    trained = names["model"].weights[0].numpy()
    assert np.any(trained != names["defense"].teacher.weights[0].numpy())


def test_a_network_of_bytes_is_defended_evaluated_and_saved(run):
    names = run("of_bytes.keras")
    low, high = names["result"]["pgd-20"].interval
    assert low <= names["result"]["pgd-20"].accuracy <= high
    before, after = (keras.saving.load_model(name) for name in ("of_bytes.keras", "defended_of_bytes.keras"))
    images = names["x_test"].astype(np.float32)
    assert np.abs(after(images) - before(images)).max() > 1e-3
    softmax = keras.ops.softmax(names["adapted"](images / 255))
    np.testing.assert_allclose(after(images), softmax, rtol=1e-4, atol=1e-6)


def test_a_network_is_evaluated_attacked_and_audited(run, capsys):
    names = run("AutoAttack()], eps")
    printed = capsys.readouterr().out
    assert re.search(r"^  clean +12\.50%", printed, re.MULTILINE)
    assert re.search(r"^  worst case of 3 ", printed, re.MULTILINE)
    moved = np.sqrt(np.sum((names["adversarial"] - names["x"] / np.float32(255)) ** 2, axis=(1, 2, 3)))
    np.testing.assert_allclose(moved.max(), 8 / 255, rtol=0.01)


def test_a_defense_takes_an_attack_of_its_own(run):
    assert run("attack=PGD(")["defense"].attack.step_size == 2 / 255


def test_the_table_names_every_recipe_in_the_row_of_its_defense_and_no_other():
    lines = everything().splitlines()
    (start,) = [number for number, line in enumerate(lines) if line.startswith("| `--defense` | `")]
    columns = re.findall(r"`(\w+)`", lines[start])
    named = set()
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells = line.strip("|").split("|")
        defenses = set(re.findall(r"`(\w+)(?: --mart)?`", cells[0]))
        for dataset, cell in zip(columns, cells[1:], strict=True):
            for recipe in re.findall(r"`(\w+)`", cell):
                text = (ROOT / "flags" / dataset / f"{recipe}.flags").read_text(encoding="utf-8")
                assert re.search(r"--defense=(\w+)", text).group(1) in defenses
                named.add((dataset, recipe))
    recipes = [path for path in (ROOT / "flags").rglob("*.flags") if path.parent.name != "base"]
    assert named == {(path.parent.name, path.stem) for path in recipes}


def everything():
    """Returns the text of all pages: a table may stand on any."""
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_link_and_picture_leads_to_a_file(page):
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if re.match("https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


def anchors(page):
    """Returns the anchors of a page's headings, as they are made of their words."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_each_table_and_figure_of_the_supplement_has_its_command():
    rows = re.findall(
        r"^\| ([^|]+) \|[^|]+\| (.*) \|$", (ROOT / "docs" / "reproduce.md").read_text("utf-8"), re.MULTILINE
    )
    commands = {name: command for name, command in rows if name.startswith(("Table", "Figure"))}
    numbers = dict.fromkeys(re.sub("(?<=6)[abc]", "", table.number) for table in TABLES)
    assert list(commands) == [*(f"Table {number}" for number in numbers), "Figures 1, 2", "Figures 3, 4"]
    for number in numbers:
        assert re.search(rf"^`python -m tools.report .* --tables={number}`$", commands[f"Table {number}"])


def test_the_table_to_plan_by_is_what_the_networks_are():
    rows = re.findall(r"^\| `([\w-]+)` \| (\d+)x\d+ \|(.*)\|$", everything(), re.MULTILINE)
    assert len(rows) == 8
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
