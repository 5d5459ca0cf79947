"""Classifies image files with an exported SavedModel; it needs nothing but TensorFlow.

python tools/classify.py runs/digits/agkd_bml/saved_model IMAGE.png [IMAGE.png ...]
"""

import json
import os
import platform
import sys
from typing import NoReturn

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if platform.machine().lower() in ("x86_64", "amd64"):  # as in tools/__init__.py, which may not be installed here
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

if __name__ == "__main__" and {"--help", "-h"} & set(sys.argv):
    print(__doc__.strip())
    sys.exit()

import tensorflow as tf


def main(folder: str, *paths: str) -> None:
    """Prints the most probable class of each image; a mistake ends in one line and exit code 2."""
    try:
        serve = tf.saved_model.load(folder).signatures["serving_uint8"]
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        fail(f"{folder} is not a SavedModel written by tools.export: {error}")
    shape, images = serve.structured_input_signature[1]["images"].shape[1:], []
    for path in paths:
        try:
            images.append(tf.io.decode_image(tf.io.read_file(path), channels=shape[-1], expand_animations=False))
        except tf.errors.OpError as error:
            fail(f"{path} is not an image: {error.message}")
        if images[-1].shape != shape:
            fail(f"{path} must have the model's height, width and channels {tuple(shape)}. It has: {images[-1].shape}")
    names = class_names(folder)
    for path, probabilities in zip(paths, serve(images=tf.stack(images))["probabilities"].numpy(), strict=True):
        number = probabilities.argmax()
        name = f", {names[number]}" if names and names[number] != str(number) else ""
        print(f"  {path}: class {number}{name} ({100 * probabilities.max():.0f} %)")


def class_names(folder: str) -> list[str] | None:
    """Returns the names of the classes, or None if the SavedModel has none."""
    path = os.path.join(folder, "assets.extra", "agkd_tf.json")
    if not os.path.exists(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)["class_names"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        fail(f"the class names in {path} cannot be read: {error}")


def fail(message: str) -> NoReturn:
    """Ends the program with one line on standard error and exit code 2."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        fail("the SavedModel's folder and images are needed: python tools/classify.py FOLDER IMAGE.png ...")
    main(*sys.argv[1:])
