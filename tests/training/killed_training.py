"""Runs tools.train until a chosen moment, when it is killed.

  python killed_training.py LOG MOMENT SEED FLAG...

MOMENT is one of step, checkpoint, validation, edge (of an epoch). What kills it is a signal that cannot be caught, sent
a random time after the moment has come; LOG gets a line that says where that was.
"""

import os
import random
import runpy
import signal
import sys
import threading
import time

import tensorflow as tf

from agkd_tf.training import callbacks, checkpoints

LONGEST = {"step": 0.08, "checkpoint": 0.04, "validation": 0.08}


def main(log, moment, seed, *arguments):
    chance = random.Random(int(seed))
    waited = chance.randint(1, 3)  # how many such moments pass before
    epochs_edge = chance.choice(["before", "after"])

    def come(place):
        nonlocal waited
        waited -= 1
        if waited == 0:
            delay = chance.uniform(0, LONGEST.get(moment, 0.0))
            threading.Thread(target=kill, args=(place, delay), daemon=True).start()
            if not delay:
                time.sleep(60)

    def kill(place, delay):
        time.sleep(delay)
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{moment}: {place}, {1000 * delay:.0f} ms\n")
            file.flush()
            os.fsync(file.fileno())
        os.kill(os.getpid(), signal.SIGKILL)

    def around(owner, name, when):
        original = getattr(owner, name)

        def method(self, *given, **named):
            if when == "before":
                come(name)
            found = original(self, *given, **named)
            if when == "after":
                come(name)
            return found

        setattr(owner, name, method)

    if moment == "step":
        callbacks.StopOnNonFinite.on_train_batch_begin = lambda self, batch, logs=None: come(f"batch {batch}")
    elif moment == "validation":
        callbacks.StopOnNonFinite.on_test_batch_begin = lambda self, batch, logs=None: come(f"batch {batch}")
    elif moment == "checkpoint":
        around(tf.train.CheckpointManager, "save", "before")
    else:
        around(checkpoints.Checkpoints, "on_epoch_end", epochs_edge)
    sys.argv = ["tools.train", *arguments]
    runpy.run_module("tools.train", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
