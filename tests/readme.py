"""README's Python blocks, and what they find where they run. Needs the library alone, so that it runs anywhere:

python readme.py README.md
"""

import json
import pathlib
import re
import sys

import keras
import numpy as np

from agkd_tf.data import load_dataset
from agkd_tf.models import build_model


def code_blocks(page):
    """Returns the text of a page's Python blocks, in their order."""
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def shortened(code):
    """Returns the code with less work to do."""
    return code.replace("epochs=20", "epochs=1").replace("batch_size=128", "batch_size=64")


def prepared():
    """Saves the networks that the blocks load in the working directory, and returns what else they use by name.

    Images are digits, uint8 [N, 16, 16, 1]. Of those for tests, the network `model` classifies one as it is labelled:
    AutoAttack looks at that one alone.
    """
    build_model("wrn-10-1", image_shape=(16, 16, 1), num_classes=10).save("my_classifier.keras")
    layers = keras.layers
    stack = [layers.Rescaling(1 / 255), layers.Conv2D(4, 3, 2), layers.Flatten(), layers.Dense(10, "softmax")]
    keras.Sequential([keras.Input((16, 16, 1)), *stack]).save("of_bytes.keras")
    digits = load_dataset("digits", validation_examples=200)
    train, test = digits.train, digits.test
    model = keras.Sequential([keras.Input((16, 16, 1)), layers.AveragePooling2D(4), layers.Flatten(), layers.Dense(10)])
    images = test.images[:8]
    seen = model.predict(images / np.float32(255), verbose=0).argmax(1)
    labels = np.where(np.arange(8), (seen + 1) % 10, seen)
    arrays = {"x_train": train.images[:128], "y_train": train.labels[:128], "x_test": images, "y_test": labels}
    return arrays | {"model": model, "x": images, "y": labels}


if __name__ == "__main__":
    for block in code_blocks(pathlib.Path(sys.argv[1])):
        exec(shortened(block), prepared())
    imported = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    pathlib.Path("imported.json").write_text(json.dumps(imported))
