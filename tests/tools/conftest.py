"""What tests of the command lines share."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def tool():
    """Runs a command line in a process of its own, as a user does."""

    def run(name, *arguments):
        command = [sys.executable, "-m", f"tools.{name}", *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)

    return run
