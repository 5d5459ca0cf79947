"""Files that are whole or absent: written beside their place, then moved into it."""

import contextlib
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


def write_text(path, text):
    """Writes a text file as a whole."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
