"""Files that are complete or absent: written under a temporary name, then moved; damaged files raise one line."""

import contextlib
import glob
import json
import os
import pathlib
import shutil
import zipfile
from collections.abc import Iterator
from typing import Any

from agkd_tf.errors import InputError
from agkd_tf.types import PathLike


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[pathlib.Path]:
    """Yields a temporary path to write to; if the block succeeds, moves the file to `path` in one step.

    The temporary file has the same suffix, because Keras chooses the format by it.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(argument: str, path: PathLike) -> Iterator[pathlib.Path]:
    """Yields a temporary folder to fill; if the block succeeds, moves it to `path`, in one step
    unless that is the current folder.

    Args:
        argument: name of the path in messages.
        path: path of a folder that does not exist yet, or is empty.

    Raises:
        InputError: if the folder is not empty, or the path is a file.
    """
    path = pathlib.Path(path).absolute()  # `.` has no name
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"`{argument}` must be a folder that does not exist yet, or is empty. Received: {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    temporary.mkdir()
    try:
        yield temporary
        if path.exists() and path.samefile(pathlib.Path.cwd()):  # to replace it would leave the shell without a folder
            for entry in temporary.iterdir():
                os.replace(entry, path / entry.name)
        else:
            os.replace(temporary, path)  # replaces an empty folder, too
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(path: pathlib.Path) -> None:
    """Removes temporary files beside `path`, left by processes that were killed while `replacing` it."""
    for left in path.parent.glob(f".*.{glob.escape(path.name)}"):
        left.unlink(missing_ok=True)


def write_text(path: PathLike, text: str) -> None:
    """Writes a text file in one step, so that it is never half-written."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: pathlib.Path, kind: type | tuple[type, ...] = (dict, list)) -> Any:
    """Returns the content of a JSON file.

    Args:
        path: the file.
        kind: type, or types, that the content must have.

    Raises:
        InputError: if the file is not JSON, is damaged, or its content has another type.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, kind):
            raise ValueError(f"it holds a {type(content).__name__}")
        return content
    except ValueError as error:
        raise InputError(f"{path} is not JSON, or is damaged; move it away: {error}") from error


def check_archive(path: PathLike) -> None:
    """Checks each member of a zip archive, such as a `.keras` or `.npz` file, against its stored checksum.

    Raises:
        ValueError: if it is damaged.
        OSError: if it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except OSError:
        raise
    except Exception as error:  # with damaged data, the standard library's decoders raise all kinds of errors
        raise ValueError(f"not a zip archive, or damaged: {error}") from error
    if damaged:
        raise ValueError(f"damaged: the checksum of {damaged!r} is wrong")


def set_aside(*paths: pathlib.Path) -> list[pathlib.Path]:
    """Moves existing files or folders to `<stem>.previous-N<suffix>` beside them; N is the first one free for all.

    Returns:
        The new paths, as from `aside`.
    """
    targets = aside(*paths)
    for path, target in zip(paths, targets, strict=True):
        if path.exists():
            path.replace(target)
    return targets


def aside(*paths: pathlib.Path) -> list[pathlib.Path]:
    """Returns the paths that `set_aside` would move files to."""
    number = 1
    while True:
        named = [(path.name, "") if path.is_dir() else (path.stem, path.suffix) for path in paths]
        targets = [path.with_name(f"{a}.previous-{number}{b}") for path, (a, b) in zip(paths, named, strict=True)]
        if not any(target.exists() for target in targets):
            return targets
        number += 1
