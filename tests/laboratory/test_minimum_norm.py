"""The comparison of minimum-norm attacks with a peer, which is a program that leaves its adversaries."""

import json
import sys

import numpy as np

from agkd_tf.models import build_model
from agkd_tf.training import Recipe
from agkd_tf.training.recipe_file import write_recipe
from agkd_tf.workdir import Workdir

# Gives the clean images back: its norms are infinite.
PEER = """#!{python}
import json, pathlib, sys
import numpy as np

program, folder, attack, norm, steps, size, projection = sys.argv[1:]
assert program.endswith("minimum_norm.py"), program
arrays = np.load(folder + "/problem.npz")
np.savez(folder + "/peer.npz", adversaries=arrays["images"])
settings = [attack, norm, int(steps), float(size), projection]
(pathlib.Path(folder) / "peer.json").write_text(json.dumps({{"seconds": 2.0, "versions": repr(settings)}}))
"""


def test_both_sides_stand_beside_each_other(tool, tmp_path):
    workdir, folder = Workdir(tmp_path / "run"), tmp_path / "found"
    write_recipe(workdir.flags, Recipe(dataset="digits", model="wrn-10-1", defense="at"))
    network = build_model("wrn-10-1", image_shape=(16, 16, 1), num_classes=10)
    network.save(workdir.student)
    peer = tmp_path / "a peer"
    peer.write_text(PEER.format(python=sys.executable))
    peer.chmod(0o755)
    places = (f"--workdir={workdir.path}", f"--peer_python={peer}", f"--output={folder}")
    compared = tool("laboratory.minimum_norm", *places, "--num_examples=40", "--batch_size=40", "--steps=1")
    assert compared.returncode == 0, compared.stderr
    arrays, problem = np.load(folder / "problem.npz"), json.loads((folder / "problem.json").read_text())
    assert {"depth": 10, "width": 1, "batch_size": 40}.items() <= problem.items()
    right = int(np.sum(arrays["logits"].argmax(1) == arrays["labels"]))
    assert 0 < right < 40
    table = (folder / "minimum_norm.md").read_text()
    assert f"{right} correctly classified of 40 images; CPU threads 2; ['ddn', 'l2', 1, 1.0, 'released']" in table
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[4:]]
    titles = ["fmn-1, linf", "fmn-1, l2", "fmn-1, l2, the peer's projection put right", "ddn-1, l2"]
    assert [row[0] for row in rows] == titles
    # One step only looks at the clean images, so that nothing fools on either side.
    assert [row[1:9] for row in rows] == 4 * [["inf", "inf", "100.0 %", "100.0 %", "0.0 %", "0.0 %", *2 * [str(right)]]]
    assert [row[10] for row in rows] == 4 * ["2.0"]
    refused = tool("laboratory.minimum_norm", *places[:2])
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "`output` is needed: --output=..." in refused.stderr
