"""Processes for tests: devices and workers are fixed when TensorFlow starts, and kills need something to kill."""

import concurrent.futures
import contextlib
import importlib
import io
import json
import multiprocessing
import os
import socket
import time

from absl.testing import flagsaver


@contextlib.contextmanager
def fresh_process(devices=1, worker=None):
    """Yields an executor that calls functions in one new process; it is killed where the caller fails.

    Args:
        devices: its number of CPU devices.
        worker: content of TF_CONFIG; None for none.
    """
    context = multiprocessing.get_context("spawn")
    executor = concurrent.futures.ProcessPoolExecutor(1, context, _begin, (devices, worker))
    try:
        yield executor
    except BaseException:
        for process in list(executor._processes.values()):
            process.kill()  # shutdown waits for it, however long it hangs
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _begin(devices, worker):
    """What a process does before TensorFlow wakes up."""
    if worker is not None:
        os.environ["TF_CONFIG"] = json.dumps(worker)
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, devices * [tf.config.LogicalDeviceConfiguration()])


def call_tool(name, *arguments):
    """Returns (exit code, what it printed, its errors) of a command line.

    To be called in a `fresh_process` again and again, but there for one tool only: two of them define flags of the
    same names.
    """
    from tools import _app

    tool = importlib.import_module(f"tools.{name}")
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors), flagsaver.flagsaver():
        tool.FLAGS([name, *arguments])
        try:
            _app.call(tool.main, [])
        except SystemExit as end:
            return end.code, out.getvalue(), errors.getvalue()
    return 0, out.getvalue(), errors.getvalue()


def free_ports(count):
    """Returns that many ports of loopback that nothing listens at."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def cluster(count):
    """Returns the TF_CONFIG, not yet as JSON, of each worker of a cluster on loopback."""
    workers = [f"127.0.0.1:{port}" for port in free_ports(count)]
    return [{"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}} for index in range(count)]


def wait_for(condition, process, seconds=200):
    """Waits until `condition()` is true, as long as the process lives."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"the process ended early, with {process.returncode}"
        assert time.monotonic() < end, f"nothing in {seconds} seconds"
        time.sleep(0.05)
