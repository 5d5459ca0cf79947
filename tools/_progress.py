"""What a tool says while it works, as `--progress` asks for."""

import sys
import time

import keras
from absl import flags

FLAGS = flags.FLAGS
SECONDS_BETWEEN_LINES = 30


def say(text):
    """Prints a line unless `--progress=off`."""
    if FLAGS.progress != "off":
        print(text, flush=True)


def wants_bar():
    """Returns whether progress is a bar that moves."""
    return FLAGS.progress == "bar" or (FLAGS.progress == "auto" and sys.stdout.isatty())


def counting(title, unit):
    """Returns `show(done, total)`, which shows progress with the time that is left; None for `--progress=off`."""
    if FLAGS.progress == "off":
        return None
    bars, begun = [], time.monotonic()
    told = begun

    def show(done, total):
        nonlocal told
        now = time.monotonic()
        if wants_bar():
            if not bars:
                print(title)
                bars.append(keras.utils.Progbar(total, unit_name=unit))
            bars[0].update(done)
        elif done and now - told >= SECONDS_BETWEEN_LINES:
            left = (now - begun) / done * (total - done)
            print(f"{title}: {done} of {total} {unit}s, {left:.0f} s left", flush=True)
            told = now

    return show


def attack_progress(title):
    """Returns the `progress` of `agkd_tf.evaluation.evaluate` for an attack of that title, or None."""
    if FLAGS.progress == "off":
        return None
    shows = {}

    def show(part, variant, done, total):
        stage = part.name if part.variants == 1 else f"{part.name} {variant + 1}/{part.variants}"
        if (part, variant) not in shows:
            shows[part, variant] = counting(title if stage == title else f"{title}: {stage}", "image")
        shows[part, variant](done, total)

    return show
