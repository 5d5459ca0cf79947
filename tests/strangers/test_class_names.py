"""A class is found by its name: in a run, a `.keras` file, a SavedModel and a record, whatever its folder's rank."""

import json
import re
import warnings
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from agkd_tf.data import load_dataset
from agkd_tf.errors import InputError, Note
from agkd_tf.evaluation import saved_model_digest, subject_at
from agkd_tf.export import export_saved_model
from agkd_tf.files import check_archive
from agkd_tf.models.storage import MEMBER, load_classifier, read_class_names, save_classifier
from agkd_tf.training import Recipe

COLORS = {"ant": (200, 20, 20), "bee": (20, 200, 20), "cat": (20, 20, 200), "dog": (200, 200, 20)}
NAMES = ("cat", "ant", "bee")  # of the model's classes; not their alphabetical order


def network(names=NAMES):
    """Returns a classifier that knows red, green and blue without training, with logits in the order of `names`."""
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(3, 1, use_bias=False, kernel_initializer=keras.initializers.Constant(np.eye(3))),
            layers.GlobalAveragePooling2D(),
            layers.Dense(len(names)),
        ]
    )
    kernel = np.array([np.array(COLORS[name]) / 20 - 4 for name in names]).T
    model.set_weights([np.eye(3).reshape(1, 1, 3, 3), kernel, np.zeros(len(names))])
    return model


def write(folder, *classes, count=3):
    """Writes `count` images of each class; "ape=ant" looks like an ant and is called an ape."""
    for each in classes:
        name, _, looks = each.partition("=")
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.full((6, 6, 3), COLORS[looks or name], np.uint8)
            pixels[0, 0] = number  # no two images are the same
            (folder / name / f"{number}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    return folder


# Class folders of the test part -> accuracy in % (None: refused), and what is said of it.
DATA = {
    "another order": (("ant", "bee", "cat"), 100, "its labels were matched by name; it has 3 of 3 classes"),
    "two of three": (("ant", "cat"), 100, "it has 2 of 3 classes: 'ant', 'cat'"),
    "one of three": (("bee",), 100, "it has 1 of 3 classes: 'bee'"),
    "one more": (
        ("ant", "bee", "cat", "dog"),
        None,
        "has classes that the model does not know: 'dog'. It knows: 'cat'",
    ),
    "another name": (("ape=ant", "bee", "cat"), None, "does not know: 'ape'. It knows: 'cat', 'ant', 'bee'; rename"),
}


def evaluate(tool, model, folder, record, *more):
    flags = ("--eps=0.1", "--attacks=clean", f"--record={record}", f"--dataset=image_folder:{folder}")
    return tool("evaluate", model, *flags, *more)


@pytest.mark.parametrize("kind", DATA)
def test_labels_are_numbered_by_name(kind, tmp_path):
    classes, accuracy, said = DATA[kind]
    write(tmp_path, *classes)
    settings = {"training": False, "class_names": NAMES}
    if accuracy is None:
        with pytest.raises(InputError, match=re.escape(said)):
            load_dataset(f"image_folder:{tmp_path}", **settings)
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = load_dataset(f"image_folder:{tmp_path}", **settings)
    assert [each.category for each in caught] == [Note]
    assert said in str(caught[0].message)
    assert data.class_names == NAMES
    colors = data.test.images[:, 3, 3]
    assert [COLORS[NAMES[label]] for label in data.test.labels] == [tuple(color) for color in colors]
    seen = network().predict(data.test.images / np.float32(255), verbose=0).argmax(1)
    assert 100 * np.mean(seen == data.test.labels) == accuracy


def test_the_same_names_in_the_same_order_change_nothing(digits):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load_dataset("digits", validation_examples=200, class_names=digits.class_names)
    for split in ("train", "validation", "test"):
        assert data.split(split).digest() == digits.split(split).digest()


def test_a_name_of_the_same_characters_is_the_same_name(tmp_path):
    write(tmp_path, "ant", "be\u0301e=bee")  # as one system writes é
    with pytest.warns(Note, match="2 of 3"):
        data = load_dataset(f"image_folder:{tmp_path}", training=False, class_names=("b\u00e9e", "cat", "ant"))
    assert sorted(set(data.test.labels)) == [0, 2]


@pytest.mark.parametrize("names", [("ant", "ant", "bee"), ("ant",), (), ("ant", 3)])
def test_class_names_must_be_texts_each_another(names, tmp_path):
    write(tmp_path, "ant", "bee")
    with pytest.raises(InputError, match="`class_names` must be"):
        load_dataset(f"image_folder:{tmp_path}", training=False, class_names=names)


def test_a_file_with_names_is_one_that_keras_reads_and_its_names_are_checked(tmp_path):
    path, model = tmp_path / "named.keras", network()
    save_classifier(model, path, NAMES)
    images = np.random.default_rng(0).random((2, 6, 6, 3), np.float32)
    for read in (keras.saving.load_model(path), load_classifier("teacher", path)):
        np.testing.assert_array_equal(read.predict(images, verbose=0), model.predict(images, verbose=0))
    check_archive(path)
    assert read_class_names("teacher", path) == NAMES
    model.save(tmp_path / "plain.keras")
    assert read_class_names("teacher", tmp_path / "plain.keras") is None
    with pytest.raises(InputError, match=r"`teacher`: the class names in .* it has 4 classes but 3 names"):
        read_class_names("teacher", path, 4)
    for number, text in enumerate(("[1]", "{", '{"class_names": [1]}', '{"names": []}')):
        damaged = tmp_path / f"{number}.keras"
        model.save(damaged)
        with zipfile.ZipFile(damaged, "a") as archive:
            archive.writestr(MEMBER, text)
        with pytest.raises(InputError, match=r"`teacher`: the class names in .* cannot be read"):
            read_class_names("teacher", damaged)


def test_names_are_beside_a_saved_model_and_no_part_of_its_digest(tmp_path):
    export_saved_model(network(), tmp_path / "saved", class_names=NAMES)
    named = saved_model_digest(tmp_path / "saved")
    assert read_class_names("saved_model", tmp_path / "saved") == NAMES
    (tmp_path / "saved" / "assets.extra" / MEMBER).unlink()
    assert saved_model_digest(tmp_path / "saved") == named
    assert read_class_names("saved_model", tmp_path / "saved") is None


def test_a_source_of_other_order_is_put_in_order(tmp_path):
    order = ("bee", "cat", "ant")
    for name, names in (("model", NAMES), ("source", order)):
        save_classifier(network(names), tmp_path / f"{name}.keras", names)
    network().save(tmp_path / "plain.keras")
    subject, source, plain = (
        subject_at("attacks", tmp_path / f"{name}.keras") for name in ("model", "source", "plain")
    )
    images = tf.random.stateless_uniform((5, 6, 6, 3), (0, 0))
    assert not np.allclose(source.logits(images), subject.logits(images))
    with pytest.warns(Note, match=r"source.keras numbers its classes differently"):
        ordered = source.numbered_by("attacks", subject.class_names)
    np.testing.assert_allclose(ordered.logits(images), subject.logits(images), atol=1e-5)
    assert plain.numbered_by("attacks", NAMES) is plain
    with pytest.raises(InputError, match=re.escape("does not know: 'dog'. It knows: 'bee', 'cat', 'ant'")):
        source.numbered_by("attacks", ("ant", "bee", "dog"))


def test_training_numbers_its_data_by_the_networks_that_it_begins_with(tmp_path):
    for split in ("train", "test"):
        write(tmp_path / "data" / split, "ant", "bee", "cat")
    for name, names in (("one", NAMES), ("same", NAMES), ("other", ("bee", "cat", "ant"))):
        save_classifier(network(names), tmp_path / f"{name}.keras", names)
    settings = {"dataset": f"image_folder:{tmp_path}/data", "defense": "agkd_bml", "init_from_teacher": False}
    settings["teacher"] = str(tmp_path / "one.keras")
    for more in ({}, {"init_from": str(tmp_path / "same.keras")}):
        with pytest.warns(Note, match="by name"):
            data = Recipe(**settings, **more).load_dataset()
        assert data.class_names == NAMES
        colors = [tuple(color) for color in data.train.images[:, 3, 3]]
        assert [COLORS[NAMES[label]] for label in data.train.labels] == colors
    with pytest.raises(InputError, match="`init_from` and `teacher` have different class names"):
        Recipe(**settings, init_from=str(tmp_path / "other.keras")).load_dataset()
    (tmp_path / "data" / "test" / "cat").rename(tmp_path / "data" / "test" / "emu")
    (tmp_path / "data" / "train" / "cat").rename(tmp_path / "data" / "train" / "emu")
    with pytest.raises(InputError, match="has classes that the model does not know: 'emu'"):
        Recipe(**settings).load_dataset()


def test_command_lines_find_classes_by_name(tool, tmp_path):
    save_classifier(network(), tmp_path / "named.keras", NAMES)
    data = write(tmp_path / "data" / "test", "ant", "cat").parent
    exported = tool("export", f"--model_file={tmp_path}/named.keras", f"--output={tmp_path}/saved")
    assert exported.returncode == 0, exported.stderr
    for number, model in enumerate((f"--model_file={tmp_path}/named.keras", f"--saved_model={tmp_path}/saved")):
        record = tmp_path / f"{number}.json"
        found = evaluate(tool, model, data, record)
        assert found.returncode == 0, found.stderr
        assert "note: `dataset` image_folder:" in found.stderr
        content = json.loads(record.read_text())
        assert content["class_names"] == list(NAMES)
        assert content["attacks"]["clean [linf 0.1]"]["accuracy"] == 1
    # An earlier version's record has no names, and goes on.
    content["attacks"]["clean [linf 0.1]"]["accuracy"] = 0.5
    record.write_text(json.dumps({name: value for name, value in content.items() if name != "class_names"}))
    found = evaluate(tool, model, data, record)
    assert (found.returncode, "kept as" in found.stdout) == (0, False), found.stderr
    assert json.loads(record.read_text()) == content | {"class_names": list(NAMES)}
    found = evaluate(tool, f"--model_file={tmp_path}/named.keras", data, record, "--knn")
    assert found.returncode == 2
    assert "needs images in PATH/train/CLASS" in found.stderr.splitlines()[-1]
    write(data / "test", "dog")
    (data / "test" / "ant" / "bad.png").write_text("no image")
    found = evaluate(tool, f"--model_file={tmp_path}/named.keras", data, record, "--skip_damaged")
    assert found.returncode == 2
    note, line = found.stderr.strip().splitlines()
    assert "1 damaged images were left out: test/ant/bad.png" in note
    assert line.startswith("error: `dataset` image_folder:")
    assert "does not know: 'dog'" in line
    classified = tool("classify", tmp_path / "saved", data / "test" / "cat" / "1.png")
    assert "1.png: class 0, cat (" in classified.stdout


def test_a_run_keeps_its_names_and_is_not_continued_with_others(tool, tmp_path):
    run, data = tmp_path / "run", tmp_path / "data"
    for split in ("train", "test"):
        write(data / split, "ant", "bee", "cat", count=6)
    flags = ["--defense=undefended", "--model=tiny", "--batch_size=4", "--epochs=1", "--decay_epochs="]
    flags += ["--validation_examples=3", "--validation_attack_steps=0", f"--dataset=image_folder:{data}"]
    trained = tool("train", *flags, f"--workdir={run}", "--panel_every=0")
    assert (trained.returncode, trained.stderr) == (0, "")
    assert json.loads((run / "class_names.json").read_text()) == ["ant", "bee", "cat"]
    assert read_class_names("workdir", run) == ("ant", "bee", "cat")
    for removed in (None, "ant"):
        if removed:
            for split in ("train", "test"):
                (data / split / removed).rename(tmp_path / f"{removed} of {split}")
        found = tool("evaluate", f"--workdir={run}", "--attacks=clean", "--eps=0.1")
        assert found.returncode == 0, found.stderr
        assert ("it has 2 of 3 classes" in found.stderr) == bool(removed)
    student = load_classifier("workdir", run)
    names = ("bee", "cat")
    expected = [
        np.mean(student.predict(np.full((1, 6, 6, 3), COLORS[name], np.float32) / 255, verbose=0).argmax(1) == place)
        for place, name in enumerate(names, 1)
    ]
    recorded = json.loads((run / "evaluation.json").read_text())["attacks"]["clean [linf 0.1]"]
    assert recorded["num_examples"] == 12
    assert recorded["accuracy"] == pytest.approx(np.mean(expected), abs=1e-6)
    resumed = tool("train", *flags, f"--workdir={run}", "--epochs=2")
    assert resumed.returncode == 2
    (line,) = resumed.stderr.strip().splitlines()
    assert "holds a run with other classes than the data: class 0 was 'ant' and is 'bee' now" in line
