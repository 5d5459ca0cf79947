"""Recipes as files of lines `--name=value`, which the command lines read as flagfiles, too."""

import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

from agkd_tf.errors import InputError
from agkd_tf.files import write_text
from agkd_tf.settings import Setting
from agkd_tf.training.recipe import Recipe, recipe_settings
from agkd_tf.workdir import Workdir

NOT_GIVEN = "not given"


def recipe_lines(recipe: Recipe) -> dict[str, str]:
    """Returns name -> line for each setting of a recipe that has a value, sorted by name."""
    settings, values = recipe_settings(), recipe.settings()
    return {name: setting_line(settings[name], values[name]) for name in sorted(values) if values[name] is not None}


def setting_line(setting: Setting, value: Any) -> str:
    """Returns the line that gives a setting a value other than None."""
    if setting.kind is bool:
        return f"--{setting.name}" if value else f"--no{setting.name}"
    return f"--{setting.name}={setting.format(value)}"


def write_recipe(
    path: pathlib.Path, recipe: Recipe, *, workdir: Workdir | None = None, comment: str | None = None
) -> None:
    """Writes a recipe as a flagfile that trains it again.

    Args:
        path: file to write.
        recipe: the recipe.
        workdir: folder of its run, for the first line; None for a recipe without a run.
        comment: a line that is not part of the recipe, to put before it; None for none.
    """
    first = [] if workdir is None else [f"--workdir={workdir.path}"]
    first += [] if comment is None else [f"# {comment}"]
    write_text(path, "\n".join([*first, *recipe_lines(recipe).values()]) + "\n")


def read_recipe(path: pathlib.Path | str, overrides: Iterable[str] = ()) -> Recipe:
    """Returns the recipe in a flagfile, such as those in `flags/`, or in a run's folder.

    Each line of the file is `--name=value`; `--name` or `--noname` for True or False; `--flagfile=FILE`, which includes
    the lines of another file; or a comment. The last line for a name counts. FILE is relative to the current folder, or
    to one of the folders above the file that names it. `--workdir` is ignored: it says where to train, not what.

    Args:
        path: the file, or a run's folder.
        overrides: lines to add after those of the file, such as `--batch_size=8`.

    Raises:
        InputError: if there is no such file, or if a line in it is not a setting of a recipe.
    """
    path = pathlib.Path(path)
    file = Workdir(path).flags if path.is_dir() else path
    if not file.is_file() and path.name == file.name == Workdir(path).flags.name:  # a run's, by its place
        raise InputError(f"`workdir` has no {file.name}: it is not a run's folder. Received: {str(file.parent)!r}")
    if not file.is_file():
        raise InputError(f"a recipe must be a flagfile or a run's folder. Received: {str(path)!r}")
    try:
        settings = recipe_settings()
        return Recipe.of(dict(_read(line, settings) for line in [*_lines(file), *overrides] if not _is_place(line)))
    except InputError as error:
        raise InputError(f"{file} cannot be read as a recipe: {error}") from error


def differences(recorded: Recipe, given: Recipe) -> list[str]:
    """Returns a text for each setting, except `epochs`, in which two recipes differ."""
    lines = [recipe_lines(recipe) for recipe in (recorded, given)]
    names = sorted(set().union(*lines) - {"epochs"})
    return [
        f"`{name}`: recorded {_value(lines[0].get(name))}, received {_value(lines[1].get(name))}"
        for name in names
        if lines[0].get(name) != lines[1].get(name)
    ]


def _lines(file: pathlib.Path, within: tuple[pathlib.Path, ...] = ()) -> Iterator[str]:
    if file in within:
        raise InputError(f"{file} includes itself: --flagfile={file}")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}") from error
    for line in text.split("\n"):
        line = line.strip()
        if line.startswith("--flagfile="):
            yield from _lines(_found(pathlib.Path(line.partition("=")[2]), file), (*within, file))
        elif line and not line.startswith(("#", "//")):
            yield line


def _found(named: pathlib.Path, file: pathlib.Path) -> pathlib.Path:
    """Returns the path of a file that another file names, relative to the current folder or one above that file."""
    return next((base / named for base in (pathlib.Path(), *file.resolve().parents) if (base / named).is_file()), named)


def _is_place(line: str) -> bool:
    return line.startswith("--workdir=")


def _read(line: str, settings: dict[str, Setting]) -> tuple[str, Any]:
    """Returns (name, value) of a line."""
    name, has_value, text = line.removeprefix("--").partition("=")
    if not line.startswith("--"):
        raise InputError(f"{line!r} is not a flag, --name=value")
    if name in settings and (has_value or settings[name].kind is bool):
        return name, settings[name].parse(text) if has_value else True
    negated = settings.get(name.removeprefix("no"))
    if name.startswith("no") and negated is not None and negated.kind is bool and not has_value:
        return negated.name, False
    if name in settings:
        raise InputError(f"--{name} needs a value: --{name}=...")
    raise InputError(f"no setting of a recipe is called {name!r}")


def _value(line: str | None) -> str:
    if line is None:
        return NOT_GIVEN
    if "=" in line:
        return line.partition("=")[2]
    return "false" if line.startswith("--no") else "true"
