"""The record of an evaluation: files that are updated while it runs."""

import json
import os
import pathlib
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from agkd_tf.attacks import AttackSequence
from agkd_tf.errors import InputError, Note
from agkd_tf.evaluation.identity import same_subject
from agkd_tf.evaluation.key import Key, is_unnamed, renamed
from agkd_tf.evaluation.outcome import Outcome, Outcomes
from agkd_tf.evaluation.result import AttackResult, WorstCase, worst_case
from agkd_tf.files import aside, read_json, remove_leftovers, set_aside, write_text
from agkd_tf.types import PathLike

# Prefix of the keys of an audit's attacks, which run on fewer images.
AUDIT = re.compile(r"audit(?: \[[^]]*\])? on \d+(?:, .*)?: ")


class EvaluationRecord:
    """`evaluation.json`: what was evaluated, a result for each attack, and sections such as the worst case over them.

    Beside it, `evaluation.npz` holds the outcome of each attack for each image (see `Outcomes`); an interrupted
    evaluation continues from it. Results belong to one model and data set. If the files on disk belong to
    another, the first write moves them to `<name>.previous-1` and so on, so that results are neither mixed nor
    lost. The same happens to files that hold results of other examples under the same name, and to files of an
    earlier version, which do not state their examples.

    Images that belong to no split are identified by their digest. If the same images have a name, here or on disk,
    their results use that name.

    Args:
        path: the JSON file; None to keep everything in memory.
        subject: dict that describes the evaluated model (see `same_subject`).
        examples: dict that describes the images: `name` (see `images_name`) and `sha256` (see `Examples.digest`).

    Attributes:
        results: dict of key -> what `AttackResult.record` returns, plus details (see `add_detail`).
        sections: dict of name -> content, see `add_section`.
        moves_to: where the first write will move the files on disk if they belong to another subject; else None.
        renamed: dict of keys on disk -> their keys here, if the images have a name only here.

    Raises:
        InputError: if the path does not end in `.json`, or the files on disk are not an evaluation.
    """

    def __init__(self, path: PathLike | None, subject: Mapping[str, Any], examples: Mapping[str, str]) -> None:
        # In the form in which it will be read back: JSON keeps numbers exactly, but turns tuples into lists.
        self.subject, self.examples = json.loads(json.dumps(subject)), dict(examples)
        self.path = None if path is None else pathlib.Path(path)
        if self.path is not None and self.path.suffix != ".json":
            raise InputError(f"an evaluation's record must end in .json. Received: {str(path)!r}")
        self.results: dict[str, dict] = {}
        self.sections: dict[str, Any] = {}
        self._begun: dict[str, dict] = {}
        self._files = () if self.path is None else (self.path.with_suffix(".npz"), self.path)
        self.moves_to: pathlib.Path | None = None
        self.renamed: dict[str, str] = {}
        if self.path is not None and self.path.exists():
            content = read_evaluation(self.path)
            known = content.pop("subject")
            if same_subject(known, self.subject) and self._of_these_examples(content["begun"].values()):
                self.subject = known | self.subject
                self.results, self._begun = content.pop("attacks"), content.pop("begun")
                self.sections = content
                self._name_examples()
            else:
                self.moves_to = aside(*self._files)[1]
        self._outcomes = Outcomes(self._files[0] if self._files else None, read=self.moves_to is None)
        for old, new in self.renamed.items():
            self._outcomes.rename(old, new)
        self._is_renamed = not self.renamed  # on disk, too

    def _of_these_examples(self, begun: Iterable[Mapping[str, Any]]) -> bool:
        known = [each.get("examples") for each in begun]
        return all(each and (each["name"] != self.examples["name"] or each == self.examples) for each in known)

    def _name_examples(self) -> None:
        """Gives these images the same name here and on disk, if either has one."""
        here = self.examples["name"]
        same = [each["examples"]["name"] for each in self._begun.values() if each["examples"]["sha256"] == self._sha256]
        names = dict.fromkeys(name for name in same if name != here)
        if is_unnamed(here):
            self.examples["name"] = next((name for name in names if not is_unnamed(name)), here)
            return
        for old in filter(is_unnamed, names):
            keys = {key: renamed(key, old, here) for key in self._begun}
            if len(set(keys.values())) < len(keys):
                continue  # both names have results of the same attack: keep them apart
            self.renamed |= {key: new for key, new in keys.items() if new != key}
            for each in self._begun.values():
                if each["examples"]["name"] == old:
                    each["examples"]["name"] = here
            self._begun = {keys[key]: each for key, each in self._begun.items()}
            self.results = {keys[key]: each for key, each in self.results.items()}
            self.sections = {renamed(name, old, here): each for name, each in self.sections.items()}
            for each in self.sections.values():
                if isinstance(each, dict) and "over" in each:
                    each["over"] = [keys.get(key, key) for key in each["over"]]

    @property
    def _sha256(self) -> str:
        return self.examples["sha256"]

    def find(self, key: str, attack: AttackSequence, *, seed: int) -> str:
        """Returns the key under which results with an attack's settings, these images and a seed are stored here.

        Args:
            key: the key to use if there are no such results yet.
            attack: `AttackSequence`.
            seed: integer.
        """
        described = self._description(attack, seed)
        same = [name for name, each in self._begun.items() if each == described and not AUDIT.match(name)]
        finished = [name for name in same if name in self.results]
        return key if key in same else next(iter(finished + same), key)

    def begin(self, key: str, attack: AttackSequence, labels: np.ndarray, *, seed: int, reuse: bool = True) -> Outcome:
        """Returns the recorded `Outcome` to continue, or a fresh one if none fits.

        Args:
            key: name of the result.
            attack: `AttackSequence`.
            labels: int [N], labels of the images in order.
            seed: integer.
            reuse: whether a fresh outcome of an attack that searches for the smallest perturbation begins with the
                norms that are recorded for another eps.
        """
        described = self._description(attack, seed)
        if described != self._begun.get(key):
            self.forget(key)
            self._begun[key] = described
            # Written before any outcome with these settings.
            self._write()
        outcome = self._outcomes.get(key, labels)
        if attack.minimum_norm and reuse and outcome.norms is None:
            self._begin_with_known_norms(outcome, attack, labels, seed)
        return outcome

    def _begin_with_known_norms(self, outcome: Outcome, attack: AttackSequence, labels: np.ndarray, seed: int) -> None:
        wanted = _without_eps(self._description(attack, seed))
        alike = (key for key, each in self._begun.items() if not AUDIT.match(key) and _without_eps(each) == wanted)
        known = [self._outcomes.known(key) for key in alike if key in self._outcomes]
        searched = {each.searched: each for each in known if each.searched}
        if searched:
            outcome.take_norms(searched[max(searched)])
            outcome.judge(attack.ball, labels)

    def _description(self, attack: AttackSequence, seed: int) -> dict[str, Any]:
        return json.loads(json.dumps({"attack": attack.settings(), "seed": seed, "examples": self.examples}))

    def remove_leftovers(self) -> None:
        """Removes half-written files that killed evaluations left beside the record."""
        for path in self._files:
            remove_leftovers(path)

    def forget(self, key: str) -> None:
        """Removes everything that is recorded under `key`."""
        self.results.pop(key, None)
        self._begun.pop(key, None)
        if self._outcomes.drop(key):
            # First, so that a crash cannot leave old outcomes under new settings.
            self.save_outcomes()

    def described(self, key: str) -> dict[str, Any]:
        """Describes the outcomes under `key` as a dict for JSON: model, data, attack, seed and examples."""
        return {"subject": self.subject, **self._begun[key]}

    def save_outcomes(self) -> None:
        """Writes the outcomes of all attacks so far."""
        self._claim()
        self._outcomes.save()

    def add(self, key: str, attack: AttackSequence, *, seed: int) -> AttackResult:
        """Records the finished attack named `key` and writes the files; returns its result."""
        self.results[key] = AttackResult.of_outcome(self._outcomes.known(key), attack, seed=seed).record()
        self.save_outcomes()
        self._write()
        return self.result(key, attack.name)

    def result(self, key: str, name: str) -> AttackResult:
        """Returns the finished result under `key`; `name` is the attack's name in it."""
        return AttackResult.recorded(name, self.results[key], self._outcomes.known(key))

    def add_detail(self, key: str, name: str, content: Any) -> None:
        """Adds a detail to the finished result under `key`; it is dropped when the attack is recomputed."""
        self.results[key][name] = content
        self._write()

    def has_outcome(self, key: str) -> bool:
        """Returns whether the outcomes per image are known for `key`."""
        return key in self._outcomes

    def is_of_these_images(self, key: str) -> bool:
        """Returns whether the result under `key` was computed on exactly these images."""
        return self._begun[key]["examples"] == self.examples and not AUDIT.match(key)

    def alike(self, keys: Iterable[str], of_all: Key) -> list[str]:
        """Returns the keys of the results that one worst case may combine.

        These are the given results and all others with the same images, ball and seed.

        Args:
            keys: the keys of the results that are always included.
            of_all: ball, images and seed of the other results, as `Key.of_all` returns them.
        """
        keys = set(keys)
        return [
            key
            for key in self.results
            if self.has_outcome(key)
            and self.is_of_these_images(key)
            and (key in keys or (keys and Key.read(key).of_all() == of_all))
        ]

    def robust(self, key: str) -> np.ndarray:
        """Returns bool [N], True for images that the attack named `key` has not broken."""
        return self._outcomes.known(key).robust

    def predictions(self, key: str) -> np.ndarray | None:
        """Returns int16 [N], the predictions on the last adversaries of the attack `key`; None if not known."""
        return self._outcomes.known(key).prediction if key in self._outcomes else None

    def worst_case(self, keys: Iterable[str]) -> WorstCase:
        """Returns the worst case over the finished results `keys`, which must be of the same images."""
        return worst_case({key: self._outcomes.known(key).robust for key in keys})

    def add_worst_case(self, keys: Iterable[str], of_all: Key) -> list[str]:
        """Records the worst case over results (see `alike`), if there are several; returns their keys."""
        over = self.alike(keys, of_all)
        if len(over) > 1:
            self.add_section(f"worst_case{of_all.suffix}", self.worst_case(over).record())
        return over

    def add_section(self, name: str, content: Any) -> None:
        """Records a section that is not an attack's result, such as `worst_case`, and writes the file."""
        self.sections[name] = content
        self._write()

    def copy_to(self, path: PathLike, keys: Iterable[str]) -> None:
        """Adds the finished results `keys` to the record at a path, which is a folder or a `.json` file.

        If the images have a name in that record, the results use it.

        Warns:
            Note: if the record at the path belongs to another model or other images; it is moved aside.
        """
        check_known(self.subject, "`save`")
        other = EvaluationRecord(record_path(path), self.subject, self.examples)
        if other.moves_to is not None:
            warnings.warn(
                f"{other.path} belongs to another model or other images; it is kept as {other.moves_to.name}",
                Note,
                stacklevel=3,
            )
        here, there = self.examples["name"], other.examples["name"]
        names = {key: key if here == there else renamed(key, here, there) for key in keys}
        for key, new in names.items():
            other._begun[new] = self._begun[key] | {"examples": dict(other.examples)}
            other.results[new] = self.results[key]
            other._outcomes.put(new, self._outcomes, key)
        sections = {name if here == there else renamed(name, here, there): each for name, each in self.sections.items()}
        other.sections |= {
            name: each
            for name, each in sections.items()
            if name not in other.sections and not name.startswith("worst_case")
        }
        other.save_outcomes()
        other._write()
        for of_all in {Key.read(new).of_all() for new in names.values()}:
            other.add_worst_case([new for new in names.values() if Key.read(new).of_all() == of_all], of_all)

    def _write(self) -> None:
        self._claim()
        if self.path is not None:
            content = {"subject": self.subject, "attacks": self.results, **self.sections, "begun": self._begun}
            write_text(self.path, json.dumps(content, indent=2) + "\n")

    def _claim(self) -> None:
        if self.moves_to is not None:
            set_aside(*self._files)
            self.moves_to = None
        if not self._is_renamed:
            self._is_renamed = True
            self._outcomes.save()  # first, since outcomes without a result do no harm


def _without_eps(described: Mapping[str, Any]) -> dict[str, Any]:
    parts = [{name: value for name, value in part.items() if name != "eps"} for part in described["attack"]]
    return {**described, "attack": parts}


def check_known(subject: Mapping[str, Any], argument: str) -> None:
    """Checks that a record can recognize its model later.

    Raises:
        InputError: if nothing identifies the model.
    """
    if not subject:
        raise InputError(
            f"{argument} must recognize the model later, but a callable or a network without a configuration has no "
            'identity: give `model_name="..."`, a different name for each model'
        )


def record_path(folder: PathLike) -> pathlib.Path:
    """Returns the path of a folder's JSON record; a path that ends in `.json` is returned as it is."""
    if not isinstance(folder, str | os.PathLike):
        raise InputError(f"`folder` must be the path of a folder. Received: {folder!r}")
    path = pathlib.Path(folder)
    return path if path.suffix == ".json" else path / "evaluation.json"


def read_evaluation(path: pathlib.Path) -> dict[str, Any]:
    """Returns the content of an evaluation's JSON file.

    Raises:
        InputError: if it is not one.
    """
    content = read_json(path, dict)
    known = all(isinstance(content.get(name), dict) for name in ("subject", "attacks", "begun"))
    if not known or not all(isinstance(each, dict) for name in ("attacks", "begun") for each in content[name].values()):
        raise InputError(f"{path} is not an evaluation, or an earlier version wrote it; move it away")
    return content
