"""Nothing in this project opens a file in a way that runs code from it."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
UNSAFE = r"import pickle|from pickle|joblib|dill|allow_pickle=True|safe_mode=False|enable_unsafe|yaml\.load"
UNSAFE += r"|torch\.load\((?!path, map_location=\"cpu\", weights_only=True\))"
# Reads pickles with a table of what may be built; tests/checkpoints/test_readers.py tries to have it run something.
ARRAYS_ONLY = ROOT / "agkd_tf" / "checkpoints" / "arrays_only.py"


@pytest.mark.parametrize("folder", ["agkd_tf", "tools"])
def test_nothing_is_unpickled(folder):
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths
    assert [
        str(path) for path in paths if path != ARRAYS_ONLY and re.search(UNSAFE, path.read_text(encoding="utf-8"))
    ] == []


def test_every_array_and_model_is_opened_in_the_safe_way():
    for path in (ROOT / "agkd_tf").rglob("*.py"):
        for call in re.findall(r"(?:np\.load|saving\.load_model)\(.*", path.read_text(encoding="utf-8")):
            assert "allow_pickle=False" in call or "safe_mode=True" in call, f"{path}: {call}"
