"""Measurements in processes of their own. What a worker builds stands here at the top, where its process finds it."""

import multiprocessing
import os
import pathlib

import pytest

from agkd_tf.benchmark import CrashedWorkerError, Worker, reset_peak_memory
from agkd_tf.errors import InputError
from agkd_tf.training import NonFiniteLossError
from tests.processes import FORKED


class Allocating:
    """Takes memory with each step, and tells whose."""

    def __init__(self, mebibytes):
        self._mebibytes, self._kept = mebibytes, []

    def run(self, steps):
        self._kept += [bytearray(os.urandom(1024)) * (1024 * self._mebibytes) for _ in range(steps)]
        return [0.5] * steps

    def facts(self):
        return {"process": os.getpid()}


class Dying(Allocating):
    """Ends its process when it is run."""

    def run(self, steps):
        os._exit(3)


class Loading(Allocating):
    """Takes memory, and gives it back, while it is built."""

    def __init__(self, mebibytes):
        super().__init__(mebibytes)
        self.run(1)
        self._kept.clear()
        reset_peak_memory()


def refusing(error):
    raise error


@pytest.fixture(params=["forked", pytest.param("anew", marks=pytest.mark.slow)])
def begun(request, monkeypatch):
    """How processes begin: forked ones save the time of an import, new interpreters are what a benchmark has."""
    if request.param == "forked":
        monkeypatch.setattr(multiprocessing, "get_context", lambda method: FORKED)


@pytest.mark.usefixtures("begun")
def test_each_worker_has_a_process_and_a_peak_of_memory_of_its_own():
    with Worker(Allocating, 1) as small, Worker(Allocating, 100) as large:
        assert small.run(2) == [0.5, 0.5]
        before = large.facts()["peak_memory_mib"]
        large.run(3)
        facts = [worker.facts() for worker in (small, large)]
    assert len({os.getpid(), *(fact["process"] for fact in facts)}) == 3
    assert facts[1]["peak_memory_mib"] - before == pytest.approx(300, rel=0.1)
    assert facts[1]["peak_memory_mib"] > facts[0]["peak_memory_mib"] + 200
    assert facts[0]["peak_memory_of"] == "process"


@pytest.mark.usefixtures("begun")
def test_what_building_took_and_gave_back_is_not_in_the_peak():
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    except OSError as error:
        pytest.skip(f"the peak cannot be reset here: {error}")
    with Worker(Allocating, 1) as small, Worker(Loading, 500) as large:
        peaks = [worker.facts()["peak_memory_mib"] for worker in (small, large)]
        large.run(1)
        assert large.facts()["peak_memory_mib"] - peaks[1] == pytest.approx(500, rel=0.1)
    assert peaks[1] < peaks[0] + 100


@pytest.mark.usefixtures("begun")
def test_a_mistake_and_a_crash_reach_the_asker():
    for error in (InputError("`eps` is wrong"), NonFiniteLossError("loss became NaN")):
        with pytest.raises(type(error), match=str(error)):
            Worker(refusing, error)
    with Worker(Dying, 1) as worker:
        for _ in range(2):  # also of one that is gone when it is asked
            with pytest.raises(CrashedWorkerError, match="exit code 3"):
                worker.run(1)
