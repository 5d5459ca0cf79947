"""Attacks on one network whose outcomes and passes are kept in a folder, so that an interruption costs a batch."""

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from agkd_tf.attacks import Attack, AttackSequence
from agkd_tf.data import Examples
from agkd_tf.errors import InputError
from agkd_tf.evaluation import Outcome, Outcomes
from agkd_tf.evaluation.run_attack import continue_attack
from agkd_tf.files import read_json, write_text
from agkd_tf.types import Logits
from tools.laboratory.passes import CountedLogits, Passes


class CountedAttacks:
    """Runs attacks and counts the network's passes.

    attacks = CountedAttacks(pathlib.Path("runs/counted"), classifier.logits, examples)
    outcome = attacks.run("malt", bound("malt", ball))
    print(outcome.robust.mean(), attacks.passes("malt"))

    Args:
        folder: folder for `outcomes.npz` and `passes.json`; what these have is not done again.
        logits: callable, float32 images [B, H, W, C] -> float32 logits [B, n].
        examples: `Examples`.
        of: for the folder, what its outcomes depend on beside the images and the seed, such as the network's digest.
        batch_size: images per step.
        seed: seed of the attacks' random numbers.
        progress: callable, an attack's name -> `progress` of `continue_attack`.

    Raises:
        InputError: if the folder has outcomes of something else, or is damaged.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        logits: Logits,
        examples: Examples,
        *,
        of: Mapping[str, Any] | None = None,
        batch_size: int = 100,
        seed: int = 0,
        progress: Callable[[str], Callable | None] = lambda title: None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._counted, self._examples, self._progress = CountedLogits(logits), examples, progress
        self._batch_size, self._seed = batch_size, seed
        self._outcomes, self._path = Outcomes(folder / "outcomes.npz"), folder / "passes.json"
        self._of = {**(of or {}), "images": examples.digest().hex(), "seed": seed}
        found = read_json(self._path, dict) if self._path.exists() else {"of": self._of, "passes": {}}
        theirs = found.get("of", {})
        for name in sorted({*self._of, *theirs}):
            if theirs.get(name) != self._of.get(name):
                raise InputError(
                    f"{folder} has outcomes of another {name}, {theirs.get(name)} instead of {self._of.get(name)}: "
                    "give another folder, or remove this one"
                )
        self._passes = {name: Passes(*passes) for name, passes in found["passes"].items()}
        self._compiled: dict[str, dict[Attack, Callable]] = {}

    def outcome(self, name: str) -> Outcome:
        """Returns the outcome of the attack called `name` as far as it is known."""
        return self._outcomes.get(name, np.asarray(self._examples.labels))

    def passes(self, name: str) -> Passes:
        """Returns the passes that the attack called `name` has taken so far, in all sittings."""
        return self._passes.get(name, Passes(0, 0))

    def run(self, name: str, attack: AttackSequence, places: np.ndarray | None = None) -> Outcome:
        """Runs an attack until its outcome is known for all images, or for those at `places`; returns the outcome."""
        outcome, before = self.outcome(name), self.passes(name)
        self._counted.reset()

        def keep() -> None:
            now = self._counted.passes
            self._passes[name] = Passes(before.forward + now.forward, before.backward + now.backward)
            # First, lest outcomes be there without what they are of: after a kill in between, a batch counts twice.
            write_text(self._path, json.dumps({"of": self._of, "passes": self._passes}))
            self._outcomes.save()

        continue_attack(
            self._counted,
            self._examples,
            attack,
            outcome,
            places=places,
            compiled=self._compiled.setdefault(name, {}),
            checkpoint=keep,
            batch_size=self._batch_size,
            seed=self._seed,
            progress=self._progress(name),
        )
        return outcome
