"""Keras' own callbacks, files and edges of `fit`, with defenses."""

import csv
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import agkd_tf.export
from agkd_tf import AGKDBML, ClassPool, InputError, Undefended
from agkd_tf.defenses import DEFENSES
from agkd_tf.training.callbacks import AppendedHistory
from tests.matrices import fast_for

COUNT, CLASSES = 12, 3
LABELS = np.arange(COUNT) % CLASSES
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8, 1)).astype(np.uint8)
YOUR_OWN = pathlib.Path(__file__).resolve().parents[2] / "docs" / "your_own_model.md"


def network():
    keras.utils.set_random_seed(1)
    images = x = keras.Input((8, 8, 1))
    for layer in (layers.Conv2D(4, 3), layers.ReLU(), layers.GlobalAveragePooling2D(), layers.Dense(CLASSES)):
        x = layer(x)
    return keras.Model(images, x)


def pool():
    return ClassPool(IMAGES, LABELS, num_classes=CLASSES)


def compiled(kind=Undefended, rate=0.1, **settings):
    defense = kind(network(), **{"validation_attack_steps": 0, **settings})
    defense.compile(keras.optimizers.SGD(rate, momentum=0.9), jit_compile=False)
    return defense


def fit(defense, **settings):
    settings = {"batch_size": 4, "shuffle": False, "verbose": 0, **settings}
    return defense.fit(IMAGES, LABELS, **settings)


def clean_loss(student):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return float(loss(LABELS, student.predict(IMAGES / np.float32(255), verbose=0)))


def test_val_loss_is_the_clean_cross_entropy_that_keras_gives():
    defense = compiled(validation_attack_steps=1)
    history = fit(defense, validation_data=(IMAGES, LABELS), validation_batch_size=5).history
    assert history["val_loss"][0] == pytest.approx(clean_loss(defense.student), rel=1e-5)
    assert {name for name in history if name.startswith("val_")} == {"val_loss", "val_accuracy", "val_robust_accuracy"}
    # Training's own loss stays, and the two do not mix.
    assert history["loss"][0] == pytest.approx(history["cross_entropy"][0], rel=1e-6)
    assert history["loss"][0] != pytest.approx(history["val_loss"][0], rel=1e-6)
    listed = defense.evaluate(IMAGES, LABELS, verbose=0)
    assert listed == pytest.approx([history[f"val_{name}"][0] for name in ("loss", "accuracy", "robust_accuracy")])


# name -> (the callback, what shows that it saw `val_loss`)
CALLBACKS = {
    "EarlyStopping": (
        lambda folder: keras.callbacks.EarlyStopping(patience=1, min_delta=100.0),
        lambda defense, history, folder: len(history.epoch) == 2,
    ),
    "ReduceLROnPlateau": (
        lambda folder: keras.callbacks.ReduceLROnPlateau(patience=1, factor=0.5, min_delta=100.0),
        lambda defense, history, folder: float(defense.optimizer.learning_rate) < 0.1,
    ),
    "ModelCheckpoint": (
        lambda folder: keras.callbacks.ModelCheckpoint(str(folder / "best.keras"), save_best_only=True),
        lambda defense, history, folder: (folder / "best.keras").is_file(),
    ),
    "ModelCheckpoint, weights": (
        lambda folder: keras.callbacks.ModelCheckpoint(str(folder / "best.weights.h5"), save_weights_only=True),
        lambda defense, history, folder: (folder / "best.weights.h5").is_file(),
    ),
    "BackupAndRestore": (
        lambda folder: keras.callbacks.BackupAndRestore(str(folder / "backup"), delete_checkpoint=False),
        lambda defense, history, folder: any((folder / "backup").iterdir()),
    ),
    "CSVLogger": (
        lambda folder: keras.callbacks.CSVLogger(str(folder / "log.csv")),
        lambda defense, history, folder: "val_loss" in (folder / "log.csv").read_text(),
    ),
    "TerminateOnNaN": (lambda folder: keras.callbacks.TerminateOnNaN(), lambda *_: True),
}


@pytest.mark.parametrize("name", CALLBACKS)
@pytest.mark.filterwarnings("error:.*val_loss")  # which Keras says where it is missing
def test_keras_callbacks_find_what_they_monitor(tmp_path, name):
    make, shows = CALLBACKS[name]
    defense = compiled()
    history = fit(defense, epochs=3, validation_data=(IMAGES, LABELS), callbacks=[make(tmp_path)])
    assert shows(defense, history, tmp_path)


def trained_on(tmp_path):
    """The lines of docs/your_own_model.md, executed."""
    lines = re.search(r"```python\n(# Train on.*?)```", YOUR_OWN.read_text(encoding="utf-8"), re.DOTALL).group(1)
    names = {"x_train": IMAGES, "y_train": LABELS}
    exec(
        lines.replace('"defense.keras"', repr(str(tmp_path / "defense.keras"))).replace(
            "num_classes=10", "num_classes=3"
        ),
        names,
    )
    return names["defense"]


def test_a_defense_from_a_checkpoint_trains_on_as_if_it_had_never_stopped(tmp_path):
    whole = compiled(AGKDBML, pool=pool())
    fit(whole, epochs=2)
    first = compiled(AGKDBML, pool=pool())
    fit(first, callbacks=[keras.callbacks.ModelCheckpoint(str(tmp_path / "defense.keras"))])
    loaded = keras.saving.load_model(tmp_path / "defense.keras")
    with pytest.raises(InputError, match=r"AGKDBML needs `pool`.*: defense.pool = ClassPool\(images, labels, num_clas"):
        fit(loaded)
    loaded.pool = pool()
    assert int(loaded.step) == 3
    fit(loaded, initial_epoch=1, epochs=2)
    assert int(loaded.step) == int(whole.step) == int(loaded.optimizer.iterations) == 6
    for theirs, ours in zip(whole.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    documented = trained_on(tmp_path)
    assert int(documented.step) > 3


@pytest.mark.parametrize("name", fast_for(DEFENSES))
def test_weights_and_files_of_every_defense_come_back(tmp_path, name):
    needs, settings = DEFENSES[name].needs, {}
    if "num_examples" in needs:
        settings = {"num_examples": COUNT} | ({"smoothing_scale": 1.0} if name.startswith("cat") else {})
    if DEFENSES[name].teacher_is_robust:
        settings["teacher"] = network()
    defense = compiled(DEFENSES[name], **settings)
    defense.step.assign(5)
    defense.save(tmp_path / "defense.keras")
    defense.save_weights(tmp_path / "defense.weights.h5")
    loaded, again = keras.saving.load_model(tmp_path / "defense.keras"), compiled(DEFENSES[name], **settings)
    for weight in again.student.weights:
        weight.assign(tf.zeros_like(weight))
    again.load_weights(tmp_path / "defense.weights.h5")
    for each in (loaded, again):
        assert int(each.step) == 5
        np.testing.assert_array_equal(each(IMAGES), defense(IMAGES))


def test_the_line_that_export_names_exports_the_student(tmp_path):
    defense = compiled()
    with pytest.raises(InputError) as raised:
        defense.export(str(tmp_path / "folder"))
    line = re.search(r"agkd_tf\.export\.export_saved_model\(.*\)", str(raised.value)).group(0)
    exec(line.replace('"folder"', repr(str(tmp_path / "folder"))), {"agkd_tf": agkd_tf, "defense": defense})
    served = tf.saved_model.load(str(tmp_path / "folder")).signatures["serving_uint8"](images=tf.constant(IMAGES))
    np.testing.assert_allclose(served["logits"], defense(IMAGES), atol=1e-5)


def empty():
    return tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(4).filter(lambda images, labels: False)


EMPTY = "there are no images"
# name -> (what is done, the words)
EDGES = {
    "no arrays": (lambda defense: defense.fit(IMAGES[:0], LABELS[:0]), EMPTY),
    "no validation": (lambda defense: fit(defense, validation_data=(IMAGES[:0], LABELS[:0])), EMPTY),
    "no batches": (
        lambda defense: defense.fit(tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(4).take(0)),
        EMPTY,
    ),
    "no batches, unknown": (lambda defense: defense.fit(empty(), verbose=0), EMPTY),
    "nothing evaluated": (lambda defense: defense.evaluate(empty(), verbose=0), EMPTY),
    "nothing predicted": (lambda defense: defense.predict(empty(), verbose=0), EMPTY),
    "batch_size of 0": (lambda defense: fit(defense, batch_size=0), "`batch_size` must be in [1, inf]. Received: 0"),
    "batch_size of -1, evaluated": (
        lambda defense: defense.evaluate(IMAGES, LABELS, batch_size=-1),
        "`batch_size` must be in [1, inf]. Received: -1",
    ),
    "h5": (lambda defense: defense.save("defense.h5"), "defense.save(\"defense.keras\"). Received: 'defense.h5'"),
    "a folder": (lambda defense: defense.save("runs/defense"), 'defense.save("defense.keras")'),
    "validation weights": (
        lambda defense: fit(defense, validation_data=(IMAGES, LABELS, np.ones(COUNT))),
        "`sample_weight` and `class_weight` cannot be given",
    ),
}


@pytest.mark.parametrize("case", EDGES)
def test_edges_are_refused_in_one_line(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    run, words = EDGES[case]
    with pytest.raises(InputError) as raised:
        run(compiled())
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_edges_that_keras_has_words_or_a_way_for_stay_keras():
    defense = compiled()
    before = defense.get_weights()
    assert fit(defense, epochs=0).history == {}
    for old, new in zip(before, defense.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    with pytest.raises(ValueError, match="`validation_split` is only supported for tensors or NumPy arrays"):
        defense.fit(tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(4), validation_split=0.5)
    with pytest.raises((ValueError, IndexError), match=r"must yield at least one batch|list index"):  # Keras 3.15, 3.14
        defense.fit(each for each in ())


def test_steps_are_counted_where_a_dataset_does_not_say_its_length():
    data = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(4).filter(lambda images, labels: True)
    defense = compiled()
    defense.fit(data, epochs=2, verbose=0)
    assert int(defense.step) == 6


@pytest.mark.parametrize("header", ["epoch,accuracy,loss", "epoch,loss,val_accuracy"])
def test_a_history_keeps_the_columns_that_it_began_with(tmp_path, header):
    path = tmp_path / "history.csv"
    old = ",".join(["0", *["0.5"] * header.count(",")])
    path.write_text(f"{header}\n{old}\n")
    history = fit(
        compiled(), epochs=2, initial_epoch=1, validation_data=(IMAGES, LABELS), callbacks=[AppendedHistory(path)]
    )
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert all(None not in row for row in rows)  # where a line is longer than the first
    assert float(rows[1]["loss"]) == pytest.approx(history.history["loss"][0])
    if "val_accuracy" in header:
        assert float(rows[1]["val_accuracy"]) == pytest.approx(history.history["val_accuracy"][0])


def test_a_new_history_has_val_loss(tmp_path):
    history = fit(compiled(), validation_data=(IMAGES, LABELS), callbacks=[AppendedHistory(tmp_path / "history.csv")])
    with open(tmp_path / "history.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["val_loss"]) == pytest.approx(history.history["val_loss"][0])
