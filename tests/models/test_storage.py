import keras
import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.defenses import Undefended
from agkd_tf.errors import InputError
from agkd_tf.models.storage import load_classifier
from agkd_tf.workdir import Workdir


@pytest.fixture
def images(digits):
    return tf.constant(digits.test.images[:2] / 255, tf.float32)


def test_a_file_and_a_runs_folder_give_the_same_classifier(tiny_model, images, tmp_path):
    tiny_model.save(Workdir(tmp_path).student)
    for path in (tmp_path, str(Workdir(tmp_path).student)):
        np.testing.assert_array_equal(load_classifier("model", path)(images), tiny_model(images))


@pytest.mark.parametrize("compiled", [True, False])
def test_a_saved_defense_gives_its_student(tiny_model, images, tmp_path, compiled):
    defense = Undefended(tiny_model)
    if compiled:
        defense.compile(keras.optimizers.SGD(0.1))
    defense.save(tmp_path / "defense.keras")
    loaded = load_classifier("model", tmp_path / "defense.keras")
    assert not isinstance(loaded, Undefended)
    np.testing.assert_array_equal(loaded(images), tiny_model(images))


@pytest.mark.parametrize("name", ["nowhere.keras", "nowhere", "weights.pt"])
def test_a_missing_or_foreign_file_is_refused_by_argument(name, tmp_path):
    (tmp_path / "weights.pt").touch()
    with pytest.raises(
        InputError, match=r"`teacher` must be a run's folder or an existing \.keras or \.h5 file. Received: '.*'"
    ):
        load_classifier("teacher", tmp_path / name)


def test_a_run_without_a_student_yet_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"`teacher` has no student\.keras yet"):
        load_classifier("teacher", tmp_path)


def test_a_damaged_file_is_refused_in_one_line(tiny_model, tmp_path):
    path = tmp_path / "student.keras"
    tiny_model.save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"`teacher`: .*student\.keras cannot be read") as error:
        load_classifier("teacher", path)
    assert "\n" not in str(error.value)


def test_a_flipped_bit_is_refused_or_changes_nothing(tiny_model, images, tmp_path):
    path = tmp_path / "student.keras"
    tiny_model.save(path)
    content, expected, refused = path.read_bytes(), tiny_model(images), []
    random = np.random.default_rng(0)
    # The table at the end, which is the most delicate, besides the whole file.
    for place in [*random.integers(len(content), size=20), *random.integers(len(content) - 300, len(content), size=20)]:
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << random.integers(8)]) + content[place + 1 :])
        try:
            found = load_classifier("teacher", path)(images)
        except InputError as error:
            refused.append(str(error))
        else:
            np.testing.assert_array_equal(found, expected)
    assert len(refused) > 10
    assert all("cannot be read" in message and "\n" not in message for message in refused)


def test_a_file_cannot_bring_code_along(tmp_path):
    images = keras.Input((8, 8, 1))
    hidden = keras.layers.Lambda(lambda x: x * 2)(keras.layers.Flatten()(images))
    keras.Model(images, keras.layers.Dense(2)(hidden)).save(tmp_path / "lambda.keras")
    with pytest.raises(InputError, match="cannot be read"):
        load_classifier("model", tmp_path / "lambda.keras")
