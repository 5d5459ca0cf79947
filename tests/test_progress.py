"""What is said while something takes its time."""

import sys
import types

import pytest

from agkd_tf import progress
from agkd_tf.attacks import APGD
from agkd_tf.progress import Progress


def test_lines_say_how_much_is_done_and_how_long_it_takes_yet(monkeypatch, capsys):
    clock = iter([0.0, 10.0, 31.0, 40.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    show = Progress("lines").counting("A title", "image")
    for done in (1, 2, 3):
        show(done, 6)
    assert capsys.readouterr().out == "A title: 2 of 6 images, 62 s left\n"  # at most one in 30 seconds


@pytest.mark.parametrize(
    ("mode", "notebook", "bar"), [("auto", False, False), ("auto", True, True), ("lines", True, False)]
)
def test_a_notebook_has_a_bar(mode, notebook, bar, monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    if notebook:
        monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert Progress(mode).is_bar == bar


def test_an_attack_of_several_stages_names_them(capsys):
    part = APGD("targeted_dlr", targets=9)
    show = Progress("bar").of_attack("autoattack")
    show(part, 1, 0, 4)
    show(part, 1, 4, 4)
    *_, begun, last, after = capsys.readouterr().out.split("\r")
    assert begun.startswith("autoattack: apgd-t 2/9:   0%")
    assert "0/4" in begun
    assert not last.strip()  # the bar is taken away when it is full
    assert after == ""


def test_nothing_is_said_where_nothing_is_wanted(capsys):
    quiet = Progress("off")
    quiet.say("a line")
    assert quiet.counting("a", "b") is None
    assert quiet.of_attack("a") is None
    assert capsys.readouterr().out == ""
