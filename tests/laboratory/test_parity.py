"""The comparison with another implementation, which is a program that leaves `peer.json`."""

import json
import sys

import numpy as np
import pytest

from agkd_tf.models import build_model
from agkd_tf.training import Recipe
from agkd_tf.training.recipe_file import write_recipe
from agkd_tf.workdir import Workdir

# Finds every other image robust, after as many seconds as the seed says.
PEER = """#!{python}
import json, pathlib, sys

program, folder, attack, seed = sys.argv[1:]
assert program.endswith("auto_attack.py"), program
problem = json.loads((pathlib.Path(folder) / "problem.json").read_text())
found = {{"robust": [True, False] * 2, "seconds": 1 + int(seed), "versions": f"peer, {{attack}} {{problem['norm']}}"}}
(pathlib.Path(folder) / "peer.json").write_text(json.dumps(found))
"""


@pytest.fixture
def parity(tool, tmp_path):
    """Returns parity(*flags): a call on four digits, with a network that was never trained."""
    workdir = Workdir(tmp_path / "run")
    recipe = Recipe(dataset="digits", model="wrn-10-1", defense="at")
    write_recipe(workdir.flags, recipe)
    build_model("wrn-10-1", image_shape=(16, 16, 1), num_classes=10).save(workdir.student)
    peer = tmp_path / "a peer"
    peer.write_text(PEER.format(python=sys.executable))
    peer.chmod(0o755)
    places = (f"--workdir={workdir.path}", f"--peer_python={peer}", f"--output={tmp_path}/parity")

    def call(*arguments):
        common = (*places, "--num_examples=4", "--attacks=apgd-ce")
        return tool("laboratory.parity", *common, *arguments)

    return call


def test_both_sides_stand_beside_each_other(parity, tmp_path):
    compared = parity("--seeds=0,4", "--norm=l2", "--eps=0.5")
    assert compared.returncode == 0, compared.stderr
    folder = tmp_path / "parity"
    problem = json.loads((folder / "problem.json").read_text())
    assert {"eps": 0.5, "norm": "l2", "depth": 10, "width": 1}.items() <= problem.items()
    arrays = np.load(folder / "problem.npz")
    assert arrays["images"].shape == (4, 16, 16, 1)
    assert arrays["logits"].shape == (4, 10)
    table = (folder / "parity.md").read_text()
    assert "4 images, l2 eps 0.50000" in table
    assert "peer, apgd-ce l2" in table
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if "apgd-ce |" in line]
    assert [row[:2] for row in rows] == [["apgd-ce", "0"], ["apgd-ce", "4"], ["apgd-ce", "median"]]
    assert [row[3] for row in rows[:2]] == ["50.0", "50.0"]
    assert [row[6] for row in rows] == ["1", "5", "3.0"]


def test_both_sides_start_at_the_same_points(parity, tmp_path):
    compared = parity("--attacks=apgd-ce-same-start", "--seeds=3")
    assert compared.returncode == 0, compared.stderr
    starts, images = (np.load(tmp_path / "parity" / name) for name in ("starts.npy", "problem.npz"))
    assert starts.shape == images["images"].shape
    np.testing.assert_allclose(np.abs(starts).max(axis=(1, 2, 3)), Recipe(defense="at").hyperparameters["eps"])
    assert "| apgd-ce-same-start | 3 |" in (tmp_path / "parity" / "parity.md").read_text()


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("--seeds=x", "`seeds` must be whole numbers of at least 0. Received: 'x'"),
        ("--seeds=", "`seeds` must be whole numbers of at least 0. Received: ''"),
        ("--attacks=", "among apgd-ce, apgd-t, fab-t, square, autoattack, apgd-ce-same-start. Received: ''"),
        ("--attacks=apgd-ce-same-start --implementation=torchattacks", "needs --implementation=pyautoattack"),
        ("--norm=l2", "`norm` l2 needs --eps"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(parity, flag, expected):
    refused = parity(*flag.split())
    assert refused.returncode == 2, refused.stderr
    (line,) = refused.stderr.strip().splitlines()
    assert expected in line
