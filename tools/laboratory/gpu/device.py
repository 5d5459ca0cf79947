"""A device that compiles each program only once, and ahead of its use if asked to."""

import concurrent.futures
import hashlib
import time
from collections.abc import Callable
from typing import Any

from tools.laboratory.gpu.errors import OutOfTimeError


def compiling_device(run: Any, left: Callable[[], float]) -> Any:
    """Returns a device on which programs can be compiled ahead.

    Args:
        run: the module `run` of `tools.laboratory.portable`, as it was exported.
        left: returns the seconds after which compiling is given up.
    """

    class Device(run.Device):
        """A device that compiles each program only once, and ahead of its use if asked to."""

        def __init__(self) -> None:
            super().__init__()
            # One at a time: XLA uses all cores for one program, and times kernels on the GPU. On an H200, with four at
            # a time, the first two programs of PreAct-ResNet-18 were ready after 285 s, where WRN-28-10's step alone
            # took 38 s.
            self._pool = concurrent.futures.ThreadPoolExecutor(1)
            self._programs: dict[str, concurrent.futures.Future] = {}

        def ahead(self, text: str) -> concurrent.futures.Future:
            """Begins to compile a program in the background."""
            digest = hashlib.sha256(text.encode()).hexdigest()
            if digest not in self._programs:
                self._programs[digest] = self._pool.submit(self._timed, text)
            return self._programs[digest]

        def _timed(self, text: str) -> tuple[Any, float]:
            begun = time.monotonic()
            return super().compiled(text), time.monotonic() - begun

        def compiled(self, text: str) -> Any:
            return self.compiled_in(text)[0]

        def compiled_in(self, text: str) -> tuple[Any, float]:
            """Returns a program, and the seconds that compiling it took."""
            try:
                return self.ahead(text).result(max(1.0, left()))
            except concurrent.futures.TimeoutError:
                raise OutOfTimeError("stopped, out of time while compiling") from None

        def close(self) -> None:
            """Cancels the compilations that have not begun."""
            self._pool.shutdown(wait=False, cancel_futures=True)

    return Device()


def compile_ahead(device: Any, folder: Any, stages: tuple[str, ...], *, attacks: bool) -> None:
    """Begins to compile programs of a portable folder.

    Args:
        device: a device of `compiling_device`.
        folder: a `Folder` of the module `run`.
        stages: which trainings' programs.
        attacks: whether those of the attacks, too.
    """
    description = folder.description
    chosen = [stage for stage in description["stages"] if stage["name"] in stages]
    programs = [stage[part]["program"] for stage in chosen for part in ("step", "validation")]
    if attacks:
        programs += [part["program"] for part in description["evaluation"]["parts"]]
    for program in programs:
        device.ahead(folder.program(program))
