"""Processes for tests: command lines, devices and workers, which are fixed when TensorFlow starts, and what is killed.

Most are forked from one server that has imported TensorFlow and not started it, so that a new one takes hundredths of
a second where a new interpreter takes seconds.
"""

import concurrent.futures
import contextlib
import importlib
import json
import multiprocessing
import os
import pathlib
import runpy
import socket
import sys
import time
from multiprocessing import forkserver
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[1]
FORKED, ANEW = multiprocessing.get_context("forkserver"), multiprocessing.get_context("spawn")
FORKED.set_forkserver_preload(["tests.preloaded"])


class Process:
    """A function that runs in a process of its own, whose output goes to files; like a `subprocess.Popen`.

    Args:
        folder: empty folder for the output.
        function: callable of a module's top level.
        *arguments: of `function`; they are pickled.
        environment: variables to set.
        anew: whether a new interpreter runs it, for what is decided when TensorFlow is imported.
    """

    def __init__(self, folder, function, *arguments, environment=None, anew=False):
        self._outputs = [folder / name for name in ("stdout", "stderr")]
        given = (self._outputs, environment or {}, function, arguments)
        self._process = (ANEW if anew else FORKED).Process(target=_in_the_process, args=given)
        with mock.patch.dict(os.environ, environment or {}):  # which a new interpreter has from its beginning
            self._process.start()

    def poll(self):
        """Returns the exit code, negative for a signal; None while the process runs."""
        return self._process.exitcode

    returncode = property(poll)

    def wait(self, timeout):
        """Returns the exit code of a process that ends within that many seconds."""
        self._process.join(timeout)
        if self.poll() is None:
            raise TimeoutError(f"the process runs for more than {timeout} s; {self.stdout}{self.stderr}")
        return self.poll()

    def send_signal(self, number):
        os.kill(self._process.pid, number)

    def kill(self):
        self._process.kill()

    @property
    def stdout(self):
        """What was written until now."""
        return self._read(0)

    @property
    def stderr(self):
        """What was written until now, but for `slow_settings`, which are the machine's matter."""
        return "".join(line for line in self._read(1).splitlines(keepends=True) if not _is_of_the_machine(line))

    @property
    def slow_settings(self):
        """Lines of standard error that say how the processor could be used better."""
        return [line for line in self._read(1).splitlines() if _is_of_the_machine(line)]

    def _read(self, number):
        path = self._outputs[number]
        return path.read_text(encoding="utf-8") if path.exists() else ""


def _is_of_the_machine(line):
    return line.startswith(("note: oneDNN is off", "note: this CPU has no instructions"))


def _in_the_process(outputs, environment, function, arguments):
    for descriptor, path in enumerate(outputs, 1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, descriptor)
        os.close(file)
    os.chdir(ROOT)
    os.environ.update(environment)
    function(*arguments)


def run_tool(name, *arguments):
    """Does what `python -m tools.NAME ARGUMENTS` does."""
    sys.argv = [name, *arguments]
    runpy.run_module(f"tools.{name}", run_name="__main__", alter_sys=True)


def run_tool_in(folder, name, *arguments):
    """Does what `python -m tools.NAME ARGUMENTS` does in a folder."""
    os.chdir(folder)
    run_tool(name, *arguments)


def run_tool_with_forked_workers(folder, server, name, *arguments):
    """Does what `python -m tools.NAME ARGUMENTS` does in a folder, but forks the processes that it starts.

    New interpreters would have to import TensorFlow, and would not know the networks of `tests.networks`.

    Args:
        folder: the folder.
        server: address of the server that this process was forked from: `server_address()` where it was started.
        name: the tool.
        *arguments: of the tool.
    """
    forkserver._forkserver._forkserver_address = server
    with (
        mock.patch.object(multiprocessing, "get_context", return_value=FORKED),
        mock.patch.object(forkserver._forkserver, "ensure_running"),  # it runs, but is no child of this process
    ):
        run_tool_in(folder, name, *arguments)


def run_file_in(folder, path, *arguments):
    """Does what `python PATH ARGUMENTS` does in a folder."""
    os.chdir(folder)
    sys.argv = [path, *arguments]
    runpy.run_path(path, run_name="__main__")


def parse_for_tool(folder, name, *arguments):
    """Ends as `python -m tools.NAME ARGUMENTS` does for its flags and its words: nothing follows them."""
    os.chdir(folder)
    with mock.patch("tools._app.call", return_value=None):
        run_tool(name, *arguments)


def print_flags(module):
    """Prints the names of the flags that a command line's module defines."""
    importlib.import_module(module)
    from absl import flags

    print(json.dumps(list(flags.FLAGS)))


def collect_tests(*arguments):
    """Ends as `python -m pytest --collect-only ARGUMENTS` does."""
    import pytest

    sys.exit(pytest.main(["--collect-only", "-p", "no:cacheprovider", *arguments]))


@contextlib.contextmanager
def fresh_process(devices=1, worker=None):
    """Yields an executor that calls functions in one new process; it is killed where the caller fails.

    Args:
        devices: its number of CPU devices.
        worker: content of TF_CONFIG; None for none.
    """
    executor = concurrent.futures.ProcessPoolExecutor(1, FORKED, _begin, (devices, worker))
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


def server_address():
    """Returns where the server listens that processes are forked from."""
    forkserver.ensure_running()
    return forkserver._forkserver._forkserver_address  # nothing public says


def stop_the_server():
    """Ends the server that processes are forked from, and waits for it, so that their time counts as this process'."""
    forkserver._forkserver._stop()  # nothing public does


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
        assert process.poll() is None, f"the process ended early, with {process.returncode}: {process.stderr}"
        assert time.monotonic() < end, f"nothing in {seconds} seconds"
        time.sleep(0.02)
