"""The evaluation of a model, as files that grow while it runs."""

import hashlib
import json

from agkd_tf.errors import InputError
from agkd_tf.evaluation.accuracy import result_of
from agkd_tf.evaluation.outcome import Outcomes
from agkd_tf.evaluation.worst_case import worst_case
from agkd_tf.files import write_text


class EvaluationRecord:
    """`evaluation.json`: what was evaluated, a result an attack, and the worst case over them.

    Beside it, `evaluation.npz` holds what each attack did to each image (see `Outcomes`), from which an
    evaluation that was broken off continues. Results belong to one model, data set and split: where the
    files on disk are of another, they are moved to `<name>.previous-1` and so on rather than mixed or
    lost.

    Args:
        path: the JSON file.
        subject: dict that says what is evaluated (model's digest, data set, split).

    Raises:
        InputError: if the files on disk are not an evaluation.
    """

    def __init__(self, path, subject):
        self.path, self.subject = path, subject
        self.results, self.sections, self._begun = {}, {}, {}
        self._arrays = path.with_suffix(".npz")
        self.moved_to = None
        if path.exists():
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                recorded, results, begun = (content.pop(name) for name in ("subject", "attacks", "begun"))
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{path} is not an evaluation, or is damaged; move it away: {error}") from error
            if recorded == subject:
                self.results, self.sections, self._begun = results, content, begun
            else:
                self.moved_to = self._move_away()
        self._outcomes = Outcomes(self._arrays)

    def begin(self, key, attack, labels, *, seed):
        """Returns the `Outcome` to continue, or a fresh one where nothing fits.

        Args:
            key: name of the result.
            attack: `Attack`.
            labels: int [N], of the images in their order.
            seed: integer.
        """
        # As it will be read back: JSON writes numbers exactly, and tuples as lists.
        described = json.loads(json.dumps({"attack": attack.settings(), "seed": seed}))
        if described != self._begun.get(key):
            self._outcomes.drop(key)
            self.results.pop(key, None)
        self._begun[key] = described
        return self._outcomes.get(key, labels)

    def save_outcomes(self):
        """Writes what each attack has done to each image so far."""
        if not self.path.exists():
            self._write()
        self._outcomes.save()

    def add(self, key, attack, *, seed):
        """Records the finished attack called `key`, and writes the files; returns its `Result`."""
        result = result_of(self._outcomes.known(key), attack, seed=seed)
        self.results[key] = result.record()
        self._outcomes.save()
        self._write()
        return result

    def worst_case(self, keys):
        """Returns the worst case over the finished results called `keys`, which are of the same images."""
        return worst_case({key: self._outcomes.known(key).robust for key in keys})

    def add_section(self, name, content):
        """Records something else than an attack's result, such as `worst_case`, and writes the file."""
        self.sections[name] = content
        self._write()

    def _write(self):
        content = {"subject": self.subject, "attacks": self.results, **self.sections, "begun": self._begun}
        write_text(self.path, json.dumps(content, indent=2) + "\n")

    def _move_away(self):
        number = 1
        while self.path.with_name(f"{self.path.stem}.previous-{number}.json").exists():
            number += 1
        for path in (self.path, self._arrays):
            if path.exists():
                path.replace(path.with_name(f"{path.stem}.previous-{number}{path.suffix}"))
        return self.path.with_name(f"{self.path.stem}.previous-{number}.json")


def file_digest(path):
    """Returns the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
