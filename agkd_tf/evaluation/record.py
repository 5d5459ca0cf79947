"""The evaluation of a model, as a JSON file that grows attack by attack."""

import hashlib
import json

from agkd_tf.errors import InputError
from agkd_tf.files import write_text


class EvaluationRecord:
    """`evaluation.json`: what was evaluated, and a result an attack.

    Results belong to one model, data set and split: where the file on disk is of another, it is moved
    to `<name>.previous.json` rather than mixed or lost.

    Args:
        path: the JSON file.
        subject: dict that says what is evaluated (model's digest, data set, split).

    Raises:
        InputError: if the file on disk is not an evaluation.
    """

    def __init__(self, path, subject):
        self._path, self.subject, self.results = path, subject, {}
        self.moved_to = None
        if path.exists():
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                recorded, results = content["subject"], content["attacks"]
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{path} is not an evaluation, or is damaged; move it away: {error}") from error
            if recorded == subject:
                self.results = results
            else:
                self.moved_to = path.with_name(f"{path.stem}.previous.json")
                path.replace(self.moved_to)

    def add(self, name, result):
        """Records a `Result` under the attack's name, and writes the file as a whole."""
        self.results[name] = result.record()
        content = {"subject": self.subject, "attacks": self.results}
        write_text(self._path, json.dumps(content, indent=2) + "\n")


def file_digest(path):
    """Returns the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
