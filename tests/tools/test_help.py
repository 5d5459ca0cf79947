"""What `--help` prints."""

import os
import re

import pytest
from absl import app, flags

from tests.processes import ROOT, run_tool

TOOLS = ("benchmark", "evaluate", "export", "laboratory.parity", "report", "sample_images", "train", "visualize")


def own_flags_after_help(name):
    """Prints the help of a tool, and then the names of the flags that it has defined itself."""
    app.define_help_flags()  # those of every program
    before = set(flags.FLAGS)
    with pytest.raises(SystemExit):
        run_tool(name, "--help")
    print("DEFINED", *sorted(set(flags.FLAGS) - before))


def help_of_sml():
    with pytest.raises(SystemExit):
        run_tool("train", "--defense=sml", "--help")


def test_of_a_defense_it_names_flags_and_fits_the_terminal(start):
    process = start(help_of_sml, environment={"COLUMNS": "80"})
    assert process.wait(100) == 0, process.stderr
    entries = process.stdout.partition("It takes:\n")[2]
    assert "--margin if not given" in " ".join(entries.split())
    assert "`" not in entries
    assert max(map(len, entries.splitlines())) <= 80


@pytest.mark.parametrize("name", TOOLS)
def test_it_names_each_flag_of_a_tool_once_and_nothing_of_the_machine(name, start):
    process = start(own_flags_after_help, name, environment={"COLUMNS": "80"})
    assert process.wait(100) == 0, process.stderr
    text, _, defined = process.stdout.partition("DEFINED ")
    # `--name: ` begins the entry of a flag.
    named = re.findall(r"^  --(?:\[no\])?(\w+): ", text, re.MULTILINE)
    assert sorted(named) == defined.split()
    headings = re.findall(r"^(\S.*):$", text, re.MULTILINE)
    assert len(headings) == len(set(headings))
    assert not re.search(rf"^{re.escape(os.sep)}|{re.escape(str(ROOT))}|absl\.|tensorflow\.", text, re.MULTILINE)
    entries = text[text.index(f"{headings[0]}:\n") :]
    assert max(map(len, entries.splitlines())) <= 80
