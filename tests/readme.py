"""README's Python blocks, and what they find where they run. Needs the library alone, so that it runs anywhere:

python readme.py README.md
"""

import json
import pathlib
import re
import sys

import keras

from agkd_tf.data import load_dataset
from agkd_tf.models import build_model


def code_blocks(page):
    """Returns the text of a page's Python blocks, in their order."""
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def shortened(code):
    """Returns the code with less work to do."""
    return code.replace("epochs=20", "epochs=1").replace("batch_size=128", "batch_size=64")


def prepared():
    """Saves the networks that the blocks load in the working directory, and returns the arrays that they use by name.

    They are digits: uint8 [N, 16, 16, 1], and labels int32 [N].
    """
    build_model("wrn-10-1", image_shape=(16, 16, 1), num_classes=10).save("my_classifier.keras")
    layers = keras.layers
    stack = [layers.Rescaling(1 / 255), layers.Conv2D(4, 3, 2), layers.Flatten(), layers.Dense(10, "softmax")]
    keras.Sequential([keras.Input((16, 16, 1)), *stack]).save("of_bytes.keras")
    digits = load_dataset("digits", validation_examples=200)
    train, test = digits.train, digits.test
    arrays = {"x_train": train.images[:128], "y_train": train.labels[:128]}
    return arrays | {"x_test": test.images[:40], "y_test": test.labels[:40]}


if __name__ == "__main__":
    for block in code_blocks(pathlib.Path(sys.argv[1])):
        exec(shortened(block), prepared())
    imported = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    pathlib.Path("imported.json").write_text(json.dumps(imported))
