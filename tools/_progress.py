"""What a tool says while it works, as `--progress` asks for."""

from absl import flags

from agkd_tf.progress import Progress

FLAGS = flags.FLAGS


def progress() -> Progress:
    """Returns what `--progress` asks for."""
    return Progress(FLAGS.progress)


def say(text: str) -> None:
    """Prints a line unless `--progress=off`."""
    progress().say(text)
