"""Processes of their own, since TensorFlow's devices and workers are fixed when it starts."""

import concurrent.futures
import contextlib
import json
import multiprocessing
import os
import socket

import pytest


def _begin(devices, worker):
    """What a process does before TensorFlow wakes up."""
    if worker is not None:
        os.environ["TF_CONFIG"] = json.dumps(worker)
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, devices * [tf.config.LogicalDeviceConfiguration()])


@contextlib.contextmanager
def _process(devices=1, worker=None):
    """Yields an executor that calls functions in one new process."""
    context = multiprocessing.get_context("spawn")
    executor = concurrent.futures.ProcessPoolExecutor(1, context, _begin, (devices, worker))
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


@pytest.fixture
def on_devices():
    """Calls function(*arguments) in a process with that many CPU devices."""

    def call(devices, function, *arguments):
        with _process(devices) as executor:
            return executor.submit(function, *arguments).result(timeout=300)

    return call


@pytest.fixture
def on_workers(free_ports):
    """Calls function(*arguments) in two processes that are workers of one cluster; returns both results."""

    def call(function, *arguments):
        cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
        with contextlib.ExitStack() as stack:
            executors = [
                stack.enter_context(_process(worker={"cluster": cluster, "task": {"type": "worker", "index": index}}))
                for index in range(2)
            ]
            calls = [executor.submit(function, *arguments) for executor in executors]
            return [each.result(timeout=300) for each in calls]

    return call


@pytest.fixture
def free_ports():
    """Returns ports(count): that many ports of loopback that nothing listens at."""

    def ports(count):
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            return [each.getsockname()[1] for each in sockets]

    return ports
