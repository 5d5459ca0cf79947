"""The one tool that needs nothing but TensorFlow: its answers, and its one line for a mistake."""

import keras
import numpy as np
import pytest

from agkd_tf.export import export_saved_model
from agkd_tf.models import build_model
from tools import classify


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a SavedModel, an image that it takes, and what it cannot take."""
    folder = tmp_path_factory.mktemp("classify")
    export_saved_model(build_model("tiny", image_shape=(16, 16, 1), num_classes=10), folder / "saved")
    for name, size in (("right", 16), ("large", 17)):
        keras.utils.save_img(folder / f"{name}.png", np.zeros((size, size, 1)), scale=False)
    (folder / "text.png").write_text("no image")
    return folder


def test_each_image_gets_a_class(folder, capsys):
    classify.main(str(folder / "saved"), *2 * [str(folder / "right.png")])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"  {folder / 'right.png'}: class ") for line in lines)


@pytest.mark.parametrize(
    ("model", "image", "expected"),
    [
        ("nowhere", "right.png", "nowhere is not a SavedModel written by tools.export"),
        ("saved", "nowhere.png", "nowhere.png is not an image"),
        ("saved", "text.png", "text.png is not an image"),
        ("saved", "large.png", "must have the model's height, width and channels (16, 16, 1). It has: (17, 17, 1)"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(folder, capsys, model, image, expected):
    with pytest.raises(SystemExit, match="2"):
        classify.main(str(folder / model), str(folder / "right.png"), str(folder / image))
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line
