"""A training that is killed at a chosen moment."""

import os
import random
import signal
import threading
import time

import tensorflow as tf

from agkd_tf.training import callbacks, checkpoints
from tests.processes import run_tool

LONGEST = {"step": 0.08, "checkpoint": 0.04, "validation": 0.08}


def killed_training(log, moment, seed, *arguments):
    """Runs tools.train until a chosen moment, when it is killed.

    What kills it is a signal that cannot be caught, sent a random time after the moment has come, and while it lasts:
    where it is over by then, the next one is cut shorter.

    Args:
        log: file that gets a line which says where that was.
        moment: step, checkpoint, validation, or edge (of an epoch).
        seed: of the random time.
        *arguments: of tools.train.
    """
    chance = random.Random(int(seed))
    waited = chance.randint(1, 3)  # how many such moments pass before
    longest, lasting = LONGEST.get(moment), None

    def come(place):
        """A moment that lasts begins, which `over` ends."""
        nonlocal waited, lasting
        waited, lasting = waited - 1, object()
        if waited <= 0:
            threading.Thread(target=cut, args=(place, lasting, chance.uniform(0, longest)), daemon=True).start()

    def over(place):
        nonlocal lasting
        lasting = None

    def cut(place, this, delay):
        nonlocal longest
        time.sleep(delay)
        if lasting is this:
            kill(f"{place}, {1000 * delay:.0f} ms")
        longest = delay / 2

    def kill(place):
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{moment}: {place}\n")
            file.flush()
            os.fsync(file.fileno())
        os.kill(os.getpid(), signal.SIGKILL)

    def at_once(place):
        nonlocal waited
        waited -= 1
        if waited == 0:
            kill(place)

    def around(owner, name, before=lambda name: None, after=lambda name: None):
        original = getattr(owner, name)

        def method(self, *given, **named):
            before(name)
            found = original(self, *given, **named)
            after(name)
            return found

        setattr(owner, name, method)

    first = callbacks.StopOnNonFinite  # of all callbacks
    if moment == "checkpoint":
        around(tf.train.CheckpointManager, "save", come, over)
    elif moment == "edge":
        around(checkpoints.Checkpoints, "on_epoch_end", **{chance.choice(["before", "after"]): at_once})
    else:
        kind = {"step": "train", "validation": "test"}[moment]
        around(first, f"on_{kind}_batch_begin", before=come)
        around(first, f"on_{kind}_batch_end", before=over)
    run_tool("train", *arguments)
