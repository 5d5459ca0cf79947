"""Classifies image files with an exported SavedModel; needs nothing but TensorFlow.

python tools/classify.py runs/digits/agkd_bml/saved_model IMAGE.png [IMAGE.png ...]
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf


def main(folder, *paths):
    """Prints the most probable class of each image."""
    serve = tf.saved_model.load(folder).signatures["serving_uint8"]
    channels = serve.structured_input_signature[1]["images"].shape[-1]
    images = tf.stack([tf.io.decode_image(tf.io.read_file(path), channels=channels) for path in paths])
    for path, probabilities in zip(paths, serve(images=images)["probabilities"].numpy(), strict=True):
        print(f"  {path}: class {probabilities.argmax()} ({100 * probabilities.max():.0f} %)")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
