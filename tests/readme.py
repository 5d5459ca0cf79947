"""Pages' Python blocks, and what they find where they run. Needs the library alone, so that it runs anywhere:

python readme.py README.md ...
"""

import json
import pathlib
import re
import sys

import keras
import numpy as np

from agkd_tf import AGKDBML
from agkd_tf.data import load_dataset
from agkd_tf.models import build_model


def code_blocks(page):
    """Returns the text of a page's Python blocks, in their order."""
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def shortened(code):
    """Returns the code with less work to do."""
    return code.replace("epochs=20", "epochs=1").replace("batch_size=128", "batch_size=64")


def classifier():
    """Returns a network of images in [0, 1]."""
    return build_model("wrn-10-1", image_shape=(16, 16, 1), num_classes=10)


def classifier_of_bytes():
    """Returns a network of images in 0..255, which ends in a softmax."""
    layers = keras.layers
    stack = [layers.Rescaling(1 / 255), layers.Conv2D(4, 3, 2), layers.Flatten(), layers.Dense(10, "softmax")]
    return keras.Sequential([keras.Input((16, 16, 1)), *stack])


def defense():
    """Returns a defense that can be trained, but for its pool, which no file holds."""
    made = AGKDBML(classifier(), eps=8 / 255)
    made.compile(keras.optimizers.SGD(0.01))
    return made


# What a reader is taken to have saved.
FILES = {"my_classifier.keras": classifier, "of_bytes.keras": classifier_of_bytes, "defense.keras": defense}


def prepared(code):
    """Saves the networks that code loads in the working directory, and returns what else it uses by name.

    Images are digits, uint8 [N, 16, 16, 1]. Of those for tests, the network `model` classifies one as it is labelled:
    AutoAttack looks at that one alone.
    """
    for name, build in FILES.items():
        if f'load_model("{name}")' in code:
            build().save(name)
    digits = load_dataset("digits", validation_examples=200)
    train, test = digits.train, digits.test
    layers = keras.layers
    model = keras.Sequential([keras.Input((16, 16, 1)), layers.AveragePooling2D(4), layers.Flatten(), layers.Dense(10)])
    images = test.images[:8]
    seen = model.predict(images / np.float32(255), verbose=0).argmax(1)
    labels = np.where(np.arange(8), (seen + 1) % 10, seen)
    arrays = {"x_train": train.images[:128], "y_train": train.labels[:128], "x_test": images, "y_test": labels}
    return arrays | {"model": model, "x": images, "y": labels}


if __name__ == "__main__":
    for page in map(pathlib.Path, sys.argv[1:]):
        blocks = [shortened(block) for block in code_blocks(page)]
        names = prepared("".join(blocks))
        for block in blocks:  # which go on with the names of those before
            exec(block, names)
    imported = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    pathlib.Path("imported.json").write_text(json.dumps(imported))
