"""Functions called on several devices and workers."""

import contextlib

import pytest

from tests.processes import cluster, fresh_process


@pytest.fixture
def on_devices():
    """Calls function(*arguments) in a process with that many CPU devices."""

    def call(devices, function, *arguments):
        with fresh_process(devices) as executor:
            return executor.submit(function, *arguments).result(timeout=300)

    return call


@pytest.fixture
def on_workers():
    """Calls function(*arguments) in two processes that are workers of one cluster; returns both results."""

    def call(function, *arguments):
        with contextlib.ExitStack() as stack:
            executors = [stack.enter_context(fresh_process(worker=worker)) for worker in cluster(2)]
            calls = [executor.submit(function, *arguments) for executor in executors]
            return [each.result(timeout=300) for each in calls]

    return call
