"""What README, BUILD.md and docs/ say: blocks of commands and of Python, and what stands in backticks."""

import dataclasses
import functools
import itertools
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

from markdown_it import MarkdownIt

ROOT = pathlib.Path(__file__).resolve().parents[1]
# README first: a reader begins there, and so does what is chosen for the fast run.
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")], key=lambda page: (page.name != "README.md", page))
SHELL = ("", "bash", "sh")  # languages of the blocks whose lines are commands; indented ones have none
SHOWN = ("text",)  # of those that show what a command prints, or what a file holds
PROGRAMS = ("python", "python3", "pip", "tensorboard", "bash", "source", "git", "mypy", "pytest", "ruff")
WORDS_OF_SHELL = ("for", "do", "done", "export")
HELPERS = ("ls", "paste")  # what commands call within, and runs as it is
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
# What stands for a reader's own: FOLDER, `--workdir=runs/NAME`, or three dots.
PLACEHOLDER = re.compile(
    r"(?<![\w-])(NAME|NAMES|FILE|PATH|FOLDER|DIR|SAVED_MODEL|IMAGE|RUN|RECIPE|CLASS|SOURCE|COMMAND|LAYER|OUTPUT|PAGE"
    r"|DEPTH|WIDTH|K|N|X)(?![\w-])|\.\.\.|<[a-z ]+>"
)


class NotUnderstoodError(ValueError):
    """A line of a block that is no command."""


@dataclasses.dataclass(frozen=True)
class Code:
    """Text of a page that a machine reads.

    Attributes:
        page: the page, from the repository's root.
        line: number of the first line.
        text: the text.
        language: of a fenced block; empty for others.
        before: for a command, the lines of its block that set variables.
    """

    page: str
    line: int
    text: str
    language: str = ""
    before: str = ""

    def __str__(self):
        return f"{self.page}:{self.line}: {self.text}"


@dataclasses.dataclass(frozen=True)
class Call:
    """A program's call, as a shell makes it of a command.

    Attributes:
        code: the command.
        words: program and arguments.
        environment: variables that the command sets.
    """

    code: Code
    words: tuple[str, ...]
    environment: dict[str, str]

    @property
    def program(self):
        """Name of what runs: `tools.train`, `pip`, `tools/classify.py`."""
        name = pathlib.PurePath(self.words[0]).name
        if name.startswith("python"):
            if self.words[1:2] == ("-m",):
                name = self.words[2]
            elif self.words[1:] and not self.words[1].startswith("-"):
                name = self.words[1]
        return name

    @property
    def arguments(self):
        """What the program is given."""
        return self.words[1 + next((n for n, word in enumerate(self.words[1:], 1) if word == self.program), 0) :]

    @property
    def flags(self):
        """Names of the flags that are given."""
        return [name for word in self.arguments for name in flags_in(word)]

    def values(self, name):
        """Returns the values of a flag: what it is given as `--name=value` or `--name value`, once or more."""
        pairs = itertools.pairwise((*self.arguments, ""))
        return [
            word.partition("=")[2] if "=" in word else following
            for word, following in pairs
            if word.partition("=")[0] == f"--{name}"
        ]


def flags_in(word):
    """Returns the names of the flags that a text gives: those that begin it, or follow a space."""
    return re.findall(r"(?:(?<=\s)|(?<=^)|(?<=\())--([A-Za-z]\w*(?:-\w+)*)", word)


@functools.cache
def parsed(page):
    """Returns the page's tokens."""
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def name_of(page):
    """Returns a page's path from the repository's root."""
    return page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name


def blocks(page):
    """Yields the page's blocks of code."""
    for token in parsed(page):
        if token.type in ("fence", "code_block"):
            first = token.map[0] + (2 if token.type == "fence" else 1)
            yield Code(name_of(page), first, token.content, token.info.strip())


def in_backticks(page):
    """Yields what stands in backticks in the page's text and tables."""
    for token in parsed(page):
        if token.type == "inline":
            line = token.map[0] + 1
            for child in token.children:
                line += child.type == "softbreak"
                if child.type == "code_inline":
                    yield Code(name_of(page), line, child.content.strip())


def python_blocks(page):
    """Returns the page's blocks of Python."""
    return [block for block in blocks(page) if block.language == "python"]


def commands(page):
    """Returns the page's commands in their order: those of blocks, and those in backticks.

    Raises:
        NotUnderstoodError: for a line of a block that begins with none of `PROGRAMS`.
    """
    found = []
    for block in blocks(page):
        if block.language in SHELL:
            found += commands_of(block)
        elif block.language not in ("python", *SHOWN):
            raise NotUnderstoodError(
                f"not understood: {block.page}:{block.line} is a block of {block.language}: commands are of bash, "
                "output and files of text"
            )
    for code in in_backticks(page):
        first, _, rest = code.text.partition(" ")
        program = pathlib.PurePath(first).name
        if program in PROGRAMS and rest and not re.fullmatch(r"-m [\w.]+|\S+\.py", rest):  # which is but a name
            found.append(code)
    return sorted(found, key=lambda code: code.line)


def commands_of(block):
    """Yields the commands of a block, each with all of its lines.

    Raises:
        NotUnderstoodError: for a line that is none.
    """
    before, lines, begun = [], [], block.line
    for number, line in enumerate(block.text.splitlines(), block.line):
        begun = begun if lines else number
        lines.append(line)
        text = "\n".join(lines)
        if not is_whole(text):
            continue
        lines = []
        words = first_words(text)
        for word in words:
            if pathlib.PurePath(word).name not in (*PROGRAMS, *WORDS_OF_SHELL):
                raise NotUnderstoodError(
                    f"not understood: {block.page}:{begun}: {text} (a command begins with {', '.join(PROGRAMS)}; a "
                    "block of output is fenced, as ```text)"
                )
        if not words or words == ["export"]:  # variables, or a remark
            before.append(text)
        if words:
            yield Code(block.page, begun, text, before="\n".join(before))
    if lines:
        raise NotUnderstoodError(f"not understood: {block.page}:{begun}: {' '.join(lines)} (it does not end)")


def is_whole(text):
    """Returns whether a shell would read no further line before it runs these."""
    try:
        shlex.split(text, comments=True)
    except ValueError:  # a quotation that is open
        return False
    if text.endswith("\\"):
        return False
    words = re.findall(r"(?:^|;)\s*(for|done)\b", text, re.MULTILINE)
    return words.count("for") <= words.count("done")


def first_words(text):
    """Returns what each of a command's lines begins with, but for assignments: programs, and words of the shell."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        try:
            words = [word for word in shlex.split(line, comments=True) if not ASSIGNMENT.match(word)]
        except ValueError:  # a line within a quotation
            continue
        found += words[:1]
    return found


# Writes how it was called, instead of doing it.
NOTED = """
import json, os, sys
with open(os.environ["CALLS"], "a") as file:
    file.write(json.dumps([sys.argv[1:], dict(os.environ)]) + chr(10))
"""
OF_THE_SHELL = {"CALLS", "SHIMS", "PATH", "PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"}


class Shell:
    """A shell in a folder, which expands commands and runs none of them: each program notes its call.

    Args:
        folder: the folder; files that commands name, such as `runs/cost/*`, are looked for there.
        tools: empty folder for the programs.
    """

    def __init__(self, folder, tools):
        self._folder, self._tools, self._file = folder, tools, tools / "calls"
        for name in PROGRAMS:
            self._note_calls_of(tools / name)
        for name in HELPERS:
            (tools / name).symlink_to(shutil.which(name))

    def calls(self, code, *, missing=False):
        """Returns the calls that a command makes.

        Args:
            code: the command.
            missing: whether files may be missing that it looks for.

        Raises:
            NotUnderstoodError: if the shell does not take it, or it calls another program.
        """
        for name in re.findall(r"[\w./-]+/bin/(?:python3?|pip)\b", code.text):  # of an environment that is not here
            self._note_calls_of(self._folder / name)
        self._file.write_text("")
        text = 'set -e\nsource() { "$SHIMS/source" "$@"; }\n' + f"{code.before}\n{code.text}\n"
        environment = {"PATH": str(self._tools), "CALLS": str(self._file), "SHIMS": str(self._tools)}
        done = subprocess.run(
            [shutil.which("bash"), "-c", text], cwd=self._folder, env=environment, capture_output=True, text=True
        )
        if done.returncode or (done.stderr and not missing):
            raise NotUnderstoodError(f"not understood: {code}\n{done.stderr}")
        calls = map(json.loads, self._file.read_text().splitlines())
        return [Call(code, tuple(words), own(environment)) for words, environment in calls]

    def _note_calls_of(self, path):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -IS -c {shlex.quote(NOTED)} "$0" "$@"\n')
            os.chmod(path, 0o755)


def own(environment):
    """Returns those of a call's variables that its command set."""
    return {name: value for name, value in environment.items() if name not in OF_THE_SHELL}
