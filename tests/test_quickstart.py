"""The quickstart, from its first line to its last, with one epoch for each network."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOT_NEEDED = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "docs", "runs", "tests")


@pytest.fixture
def checkout(tmp_path):
    """A copy of the checkout whose quickstart trains for one epoch; it borrows the environment that runs the tests."""
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT, folder, ignore=NOT_NEEDED)
    stamp = pathlib.Path(sys.prefix) / ".installed"
    wanted = subprocess.check_output("cat requirements.txt pyproject.toml | cksum", shell=True, cwd=ROOT, text=True)
    if not stamp.is_file() or stamp.read_text("utf-8") != wanted.strip():
        pytest.skip("tools/_setup.sh has not made this environment, and would install anew")
    (folder / ".venv").symlink_to(sys.prefix)
    script = folder / "tools" / "quickstart.sh"
    text, count = re.subn(
        "--epochs=[0-9]+ --decay_epochs=[0-9,]+", "--epochs=1 --decay_epochs=", script.read_text("utf-8")
    )
    assert count == 1
    script.write_text(text, encoding="utf-8")
    return folder


@pytest.mark.slow
def test_the_quickstart_ends_with_a_table_and_what_it_shows(checkout):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        ["bash", "tools/quickstart.sh"], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    shown = done.stdout
    assert "Installing" not in shown  # the environment is there
    assert len(re.findall(r"^ +1/1 +\d", shown, re.MULTILINE)) == 3  # a line per network: the first is the teacher
    assert max(len(line) for line in re.findall(r"^ +(?:epoch|1/1) .*", shown, re.MULTILINE)) <= 80
    assert len(re.findall(r"^  \S+\.png: class \d \(\d+ %\)$", shown, re.MULTILINE)) == 5
    rows = re.findall(
        r"^\| (undefended|at|agkd_bml) +\|(?: +\d+\.\d\d \(\d+\.\d-\d+\.\d\) +\|){4}$", shown, re.MULTILINE
    )
    assert rows == ["undefended", "at", "agkd_bml"]
    assert re.search(r"^Under the strongest of fgsm, pgd-20, cw-20, .* of the images right, .*\.$", shown, re.MULTILINE)
