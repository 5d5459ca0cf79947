"""Suppresses TensorFlow's start-up messages."""

import contextlib
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator

# What TensorFlow writes at each start, whatever its settings: notes, and complaints about a missing GPU driver.
NOTES = ("I0000", "WARNING: All log messages before absl::InitializeLog()")
NO_DRIVER = ("cuda_platform.cc", "cudart_stub.cc")


@contextlib.contextmanager
def without_startup_notes() -> Iterator[None]:
    """Captures what the process writes to standard error in the block, and prints it afterwards without the notes.

    TensorFlow's native libraries write there before any Python setting takes effect. Dropped are their notes
    and, on machines without an NVIDIA device, complaints about a missing driver; everything else is printed.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines(keepends=True):
                if not _is_note(line):
                    sys.stderr.write(line)


def _is_note(line: str) -> bool:
    has_nvidia = pathlib.Path("/dev/nvidiactl").exists()
    return line.startswith(NOTES) or (not has_nvidia and any(mark in line for mark in NO_DRIVER))
