"""The first two steps of every defense, as recorded: a change of any number is seen and has to be meant.

After a change that is meant: python -m pytest tests/defenses/test_golden.py --update-golden
"""

import json
import pathlib

import pytest

from agkd_tf.data.batches import training_batches
from agkd_tf.defenses import DEFENSES
from tests.matrices import fast_for

PATH = pathlib.Path(__file__).resolve().parents[1] / "golden" / "first_steps.json"
# Signs of gradients near zero may differ between processors, which moves a few pixels of an adversary.
TOLERANCE = 5e-3


@pytest.mark.parametrize("name", fast_for(DEFENSES))
def test_the_first_two_steps_are_the_recorded_ones(bench, name, request):
    settings = {"mart": True} if name == "agkd_bml" else {}
    defense = bench.defense(name, augmentation="crop_flip", weight_decay=2e-4, **settings)
    batches = training_batches(bench.data.train, batch_size=16, seed=0)
    history = defense.fit(batches, steps_per_epoch=2, verbose=0, shuffle=False).history
    found = {term: float(values[0]) for term, values in sorted(history.items())}
    recorded = json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else {}
    if request.config.getoption("--update-golden"):
        recorded[name] = {term: round(value, 6) for term, value in found.items()}
        PATH.write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    assert found == pytest.approx(recorded[name], rel=TOLERANCE, abs=1e-4)
