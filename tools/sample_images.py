"""Writes test images of a data set as PNG files, named by their class.

python -m tools.sample_images --dataset=digits --output=images --count=5
"""

import pathlib

import numpy as np
import tensorflow as tf
from absl import flags

from agkd_tf.data import load_dataset
from agkd_tf.errors import InputError
from tools import _app, _flags

FLAGS = flags.FLAGS

_flags.define_data()
_flags.define_data_place()
flags.DEFINE_string("output", None, "Folder to write the images to.")
flags.DEFINE_integer("count", 10, "Write the first N images of the test split.", 1)


def main(argv: list[str]) -> None:
    """Writes the images."""
    del argv
    if not FLAGS.output:
        raise InputError("`output`, the folder to write to, is needed: --output=FOLDER")
    dataset = load_dataset(FLAGS.dataset, image_size=FLAGS.image_size, **_flags.data_place(), training=False)
    folder = pathlib.Path(FLAGS.output)
    folder.mkdir(parents=True, exist_ok=True)
    examples = dataset.test.take(slice(0, FLAGS.count))
    for number, (image, label) in enumerate(zip(np.asarray(examples.images), examples.labels, strict=True)):
        name = f"test_{number}_of_class_{dataset.class_names[label]}.png"
        tf.io.write_file(str(folder / name), tf.io.encode_png(image))
    print(f"{len(examples)} images in {folder}")


if __name__ == "__main__":
    _app.run(main)
