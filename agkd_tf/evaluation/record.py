"""The evaluation of a model, as files that grow while it runs."""

import json
import pathlib

from agkd_tf.errors import InputError
from agkd_tf.evaluation.accuracy import result_of
from agkd_tf.evaluation.outcome import Outcomes
from agkd_tf.evaluation.worst_case import worst_case
from agkd_tf.files import aside, read_json, remove_leftovers, set_aside, write_text


class EvaluationRecord:
    """`evaluation.json`: what was evaluated, a result an attack, and sections such as the worst case over them.

    Beside it, `evaluation.npz` holds what each attack did to each image (see `Outcomes`), from which an
    evaluation that was broken off continues. Results belong to one model and data set: where the files on
    disk are of another, they are moved to `<name>.previous-1` and so on by the first write, rather than
    mixed or lost. So are files that hold results of other examples under the name of these, and files of an
    earlier version, which do not say what examples they are of.

    Args:
        path: the JSON file.
        subject: dict that says what is evaluated (model's digest, data set).
        examples: dict that says what it is evaluated on: `name`, such as `test, first 24`, and `sha256` (see
            `Examples.digest`).

    Attributes:
        results: dict of key -> what `Result.record` returns, and details of it (see `add_detail`).
        sections: dict of name -> content, of `add_section`.
        moves_to: where the first write will move the files on disk, if they are of another subject; or None.

    Raises:
        InputError: if the path does not end in `.json`, or the files on disk are not an evaluation.
    """

    def __init__(self, path, subject, examples):
        # As it will be read back: JSON writes numbers exactly, and tuples as lists.
        self.path, self.subject, self.examples = pathlib.Path(path), json.loads(json.dumps(subject)), examples
        if self.path.suffix != ".json":
            raise InputError(f"an evaluation's record must end in .json. Received: {str(path)!r}")
        self.results, self.sections, self._begun = {}, {}, {}
        self._arrays = self.path.with_suffix(".npz")
        self.moves_to = None
        if self.path.exists():
            content = read_evaluation(self.path)
            if content.pop("subject") == self.subject and self._of_these_examples(content["begun"].values()):
                self.results, self._begun = content.pop("attacks"), content.pop("begun")
                self.sections = content
            else:
                _, self.moves_to = aside(self._arrays, self.path)
        self._outcomes = Outcomes(self._arrays, read=self.moves_to is None)

    def _of_these_examples(self, begun):
        known = [each.get("examples") for each in begun]
        return all(each and (each["name"] != self.examples["name"] or each == self.examples) for each in known)

    def begin(self, key, attack, labels, *, seed):
        """Returns the `Outcome` to continue, or a fresh one where nothing fits.

        Args:
            key: name of the result.
            attack: `AttackSequence`.
            labels: int [N], of the images in their order.
            seed: integer.
        """
        described = json.loads(json.dumps({"attack": attack.settings(), "seed": seed, "examples": self.examples}))
        if described != self._begun.get(key):
            self.forget(key)
            self._begun[key] = described
            # On disk before any outcome of these settings is.
            self._write()
        return self._outcomes.get(key, labels)

    def remove_leftovers(self):
        """Removes what killed evaluations left half-written beside the files."""
        for path in (self.path, self._arrays):
            remove_leftovers(path)

    def forget(self, key):
        """Drops all that is known of the attack called `key`."""
        self.results.pop(key, None)
        self._begun.pop(key, None)
        if self._outcomes.drop(key):
            # First, lest a crash leave old outcomes under new settings.
            self.save_outcomes()

    def described(self, key):
        """Returns for JSON whose outcomes those of the attack called `key` are: model, data, attack, seed, examples."""
        return {"subject": self.subject, **self._begun[key]}

    def save_outcomes(self):
        """Writes what each attack has done to each image so far."""
        self._claim()
        self._outcomes.save()

    def add(self, key, attack, *, seed):
        """Records the finished attack called `key`, and writes the files; returns its `Result`."""
        result = result_of(self._outcomes.known(key), attack, seed=seed)
        self.results[key] = result.record()
        self.save_outcomes()
        self._write()
        return result

    def add_detail(self, key, name, content):
        """Records more of the finished attack called `key`; it is dropped when the attack is done anew."""
        self.results[key][name] = content
        self._write()

    def has_outcome(self, key):
        """Returns whether the images' own outcomes of the attack called `key` are known."""
        return key in self._outcomes

    def predictions(self, key):
        """Returns int16 [N], the classes seen in the last adversaries of the attack called `key`; None if not known."""
        return self._outcomes.known(key).prediction if key in self._outcomes else None

    def worst_case(self, keys):
        """Returns the worst case over the finished results called `keys`, which are of the same images."""
        return worst_case({key: self._outcomes.known(key).robust for key in keys})

    def add_section(self, name, content):
        """Records something else than an attack's result, such as `worst_case`, and writes the file."""
        self.sections[name] = content
        self._write()

    def _write(self):
        self._claim()
        content = {"subject": self.subject, "attacks": self.results, **self.sections, "begun": self._begun}
        write_text(self.path, json.dumps(content, indent=2) + "\n")

    def _claim(self):
        if self.moves_to is not None:
            set_aside(self._arrays, self.path)
            self.moves_to = None


def read_evaluation(path):
    """Returns the content of an evaluation's JSON file.

    Raises:
        InputError: if it is not one.
    """
    content = read_json(path, dict)
    known = all(isinstance(content.get(name), dict) for name in ("subject", "attacks", "begun"))
    if not known or not all(isinstance(each, dict) for name in ("attacks", "begun") for each in content[name].values()):
        raise InputError(f"{path} is not an evaluation, or an earlier version's; move it away")
    return content
