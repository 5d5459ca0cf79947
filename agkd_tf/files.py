"""Files that are whole or absent: written beside their place, then moved into it."""

import contextlib
import glob
import os
import pathlib


@contextlib.contextmanager
def replacing(path):
    """Yields a path to write to; when the block ends well, the file is moved to `path` in one step.

    The temporary file has the same suffix, since Keras chooses its format by it.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path):
    """Removes what processes that were killed while `replacing` a file left beside it."""
    for left in path.parent.glob(f".*.{glob.escape(path.name)}"):
        left.unlink(missing_ok=True)


def write_text(path, text):
    """Writes a text file as a whole."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def set_aside(*paths):
    """Moves existing files to `<stem>.previous-N<suffix>` beside them, with the first N that is free for all.

    Returns:
        What `aside` returned before.
    """
    targets = aside(*paths)
    for path, target in zip(paths, targets, strict=True):
        if path.exists():
            path.replace(target)
    return targets


def aside(*paths):
    """Returns where `set_aside` would move files to."""
    number = 1
    while True:
        targets = [path.with_name(f"{path.stem}.previous-{number}{path.suffix}") for path in paths]
        if not any(target.exists() for target in targets):
            return targets
        number += 1
