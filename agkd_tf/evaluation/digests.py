"""What tells one model from another: SHA-256, in hexadecimal."""

import hashlib
import pathlib

# What a SavedModel computes by. Its fingerprint.pb, which may be missing, is none of it.
SAVED_MODEL_FILES = ("saved_model.pb", "variables/**/*", "assets/**/*")


def file_digest(path):
    """Returns the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def saved_model_digest(folder):
    """Returns the SHA-256 of a SavedModel: of the names and contents of its program, weights and assets."""
    folder = pathlib.Path(folder)
    paths = {path for pattern in SAVED_MODEL_FILES for path in folder.glob(pattern) if path.is_file()}
    lines = sorted(f"{path.relative_to(folder).as_posix()} {file_digest(path)}\n" for path in paths)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
