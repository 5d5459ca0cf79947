"""Runs a benchmark in a process of its own."""

import contextlib
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from agkd_tf.benchmark.peak_memory import peak_memory
from agkd_tf.errors import InputError
from agkd_tf.training import NonFiniteLossError


class CrashedWorkerError(RuntimeError):
    """Raised when the measuring process has ended unexpectedly."""


class Worker:
    """Builds a benchmark in a process of its own, and runs it there on request.

    The process has its own peak memory, compiled functions and threads. It is idle between requests.
    Use it as a context manager, which ends the process.

    Args:
        build: callable at the top level of a module, called in the process; returns the benchmark: an object whose
            `run(steps)` returns the seconds of each step, and whose `facts()` returns further results as a dict for
            JSON.
        *arguments: arguments of `build`; they are pickled.

    Raises:
        InputError, NonFiniteLossError: if `build` does.
        CrashedWorkerError: if the process ends before it answers.
    """

    def __init__(self, build: Callable[..., Any], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, remote = context.Pipe()
        self._process = context.Process(target=_serve, args=(remote, build, arguments), daemon=True)
        self._process.start()
        remote.close()
        self._receive()

    def run(self, steps: int) -> list[float]:
        """Returns the seconds of each of `steps` steps."""
        return self.ask("run", steps)

    def facts(self) -> dict[str, Any]:
        """Returns the benchmark's facts, and the process's `peak_memory` so far."""
        return self.ask("facts")

    def ask(self, method: str, *arguments: Any) -> Any:
        """Calls a method of the benchmark in the process, and returns its result.

        Raises:
            InputError, NonFiniteLossError: if the method does.
            CrashedWorkerError: if the process ends before it answers.
        """
        with contextlib.suppress(ConnectionError):  # `_receive` reports it
            self._pipe.send((method, *arguments))
        return self._receive()

    def _receive(self) -> Any:
        try:
            error, answer = self._pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            # A process that the system killed for lack of memory cannot report it itself.
            raise CrashedWorkerError(f"the measuring process ended with exit code {self._process.exitcode}") from None
        if error is not None:
            raise error
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._pipe.close()
        self._process.join(timeout=10)
        self._process.kill()


def _serve(pipe: Connection, build: Callable[..., Any], arguments: tuple) -> None:
    # Several processes share an accelerator, and TensorFlow would reserve all of its memory.
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    try:
        benchmark = build(*arguments)
    except (InputError, NonFiniteLossError) as error:
        pipe.send((error, None))
        return
    pipe.send((None, None))
    while True:
        try:
            name, *given = pipe.recv()
        except (EOFError, ConnectionError):
            return
        try:
            answer = getattr(benchmark, name)(*given)
        except (InputError, NonFiniteLossError) as error:
            pipe.send((error, None))
        else:
            pipe.send((None, answer | peak_memory() if name == "facts" else answer))
