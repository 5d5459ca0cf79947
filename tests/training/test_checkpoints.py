"""Damaged checkpoints are passed over and told of; a training that is asked to stop saves first."""

import dataclasses
import os
import pathlib
import shutil
import signal
import threading
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from agkd_tf import InputError
from agkd_tf.data import Examples
from agkd_tf.errors import Note
from agkd_tf.models.storage import load_classifier, weights_digest
from agkd_tf.training import InterruptedTrainingError, write_recipe
from agkd_tf.training import checkpoints as module
from agkd_tf.training import run as run_module
from agkd_tf.training.checkpoints import Checkpoints, checkpoint_paths
from agkd_tf.training.interruption import interruptible
from agkd_tf.workdir import Workdir
from tests.trainings import tiny_recipe, train

RECIPE = tiny_recipe("undefended", epochs=3, ema=0.9)
STEPS = 4
INDEX, DATA = "index", "data-00000-of-00001"  # the files of a checkpoint


@pytest.fixture(scope="module")
def data():
    return RECIPE.load_dataset()


@pytest.fixture(scope="module")
def begun(data, tmp_path_factory):
    """A run of two of three epochs, and its student's weights after each of them."""
    run = Workdir(tmp_path_factory.mktemp("begun"))
    train(dataclasses.replace(RECIPE, epochs=2), run, data)
    return run


def resumed(begun, folder, data, **settings):
    """Returns (defense, lines of warning) of a third epoch in a copy of the run."""
    with warnings.catch_warnings(record=True, action="always", category=Note) as caught:
        defense = train(RECIPE, folder, data, **settings)
    return defense, [str(warning.message) for warning in caught if issubclass(warning.category, Note)]


def checkpoints_in(folder, defense, data):
    origins = {"images": data.train.digest(), "teacher": weights_digest(None)}
    return Checkpoints(folder, defense, steps=STEPS, epochs=3, select_best="last", origins=origins, choose=None)


def copied(begun, folder):
    shutil.copytree(begun.path, folder)
    return checkpoint_paths(Workdir(folder).checkpoints)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path, place=0.5):
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 0x10
    path.write_bytes(content)


def remove(path):
    path.unlink()


@pytest.fixture(scope="module")
def unbroken(begun, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    copied(begun, folder)
    return resumed(begun, folder, data)[0].student.get_weights()


@pytest.mark.parametrize(
    ("part", "harm"),
    [
        (INDEX, cut),
        (INDEX, remove),
        (DATA, flip),
        pytest.param(INDEX, flip, marks=pytest.mark.slow),
        pytest.param(DATA, cut, marks=pytest.mark.slow),
        pytest.param(DATA, remove, marks=pytest.mark.slow),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_and_told_of(begun, unbroken, data, tmp_path, part, harm):
    newest, _ = copied(begun, tmp_path / "run")
    harm(tmp_path / "run" / "checkpoints" / f"{os.path.basename(newest)}.{part}")
    defense, (line,) = resumed(begun, tmp_path / "run", data)
    if (part, harm) == (INDEX, remove):
        assert line == f"checkpoint {newest} is missing"
    else:
        assert line.startswith(f"checkpoint {newest} is damaged: ")
        assert list((tmp_path / "run" / "checkpoints").glob(f"damaged-{os.path.basename(newest)}.*"))
    for found, expected in zip(defense.student.get_weights(), unbroken, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert len(checkpoint_paths(tmp_path / "run" / "checkpoints")) == 2


@pytest.mark.parametrize(
    "content",
    [
        None,
        b'model_checkpoint_path: "ckpt-\xff"\n',
        pytest.param(b"", marks=pytest.mark.slow),
        pytest.param(b"no proto", marks=pytest.mark.slow),
    ],
)
def test_a_lost_list_of_checkpoints_loses_nothing(begun, unbroken, data, tmp_path, content):
    copied(begun, tmp_path / "run")
    listing = tmp_path / "run" / "checkpoints" / "checkpoint"
    listing.unlink() if content is None else listing.write_bytes(content)
    defense, lines = resumed(begun, tmp_path / "run", data)
    assert lines == []
    np.testing.assert_array_equal(defense.student.get_weights()[0], unbroken[0])
    assert len(checkpoint_paths(tmp_path / "run" / "checkpoints")) == 2


def test_without_a_whole_checkpoint_nothing_is_begun_anew(begun, data, tmp_path):
    for path in copied(begun, tmp_path / "run"):
        cut(tmp_path / "run" / "checkpoints" / f"{os.path.basename(path)}.data-00000-of-00001")
    with pytest.raises(InputError, match=r"no checkpoint in .* can be read: .*ckpt-8 is damaged.*ckpt-4 is damaged"):
        resumed(begun, tmp_path / "run", data)


LOST = {
    "indices": (["checkpoints/*.index"], "no checkpoint in .* can be read: .*ckpt-8 is missing"),
    "folder": (["checkpoints/*"], "history.csv is of a training that has no checkpoint left"),
    "all but the student": (["checkpoints/*", "history.csv"], "student.keras is of a training that has no checkpoint"),
}


@pytest.mark.parametrize("name", LOST)
def test_lost_checkpoints_are_not_a_training_that_never_began(begun, data, tmp_path, name):
    copied(begun, tmp_path / "run")
    lost, expected = LOST[name]
    for path in [path for pattern in lost for path in (tmp_path / "run").glob(pattern)]:
        path.unlink()
    with pytest.raises(InputError, match=expected):
        resumed(begun, tmp_path / "run", data)


def test_a_damaged_list_alone_says_that_there_were_checkpoints(data, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "checkpoint").touch()
    write_recipe(tmp_path / "flags.txt", RECIPE)
    with pytest.raises(InputError, match=r"no checkpoint in .* can be read: .* the list of checkpoints is damaged"):
        train(RECIPE, Workdir(tmp_path), data)


def test_a_training_that_was_killed_before_its_first_checkpoint_begins_again(begun, data, tmp_path):
    copied(begun, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    history = Workdir(tmp_path / "run").history
    history.write_text("".join(history.read_text().splitlines(keepends=True)[:2]))
    defense, lines = resumed(begun, tmp_path / "run", data)
    assert lines == []
    assert int(defense.step.numpy()) == 3 * STEPS


@pytest.mark.parametrize("part", ["images", "labels", "number"])
def test_a_training_does_not_go_on_with_other_images(begun, data, tmp_path, part):
    copied(begun, tmp_path / "run")
    images, labels = data.train.images.copy(), data.train.labels.copy()
    if part == "images":
        images[0, 0, 0] ^= 1
    elif part == "labels":
        labels[:2] = labels[1::-1]
        assert labels[0] != labels[1]
    train_split = Examples(images, labels).take(slice(0, 63 if part == "number" else None))
    with pytest.raises(InputError, match="ckpt-8 is of a training with other images or labels than now"):
        resumed(begun, tmp_path / "run", dataclasses.replace(data, train=train_split))


def test_a_training_does_not_go_on_with_another_teacher(data, tmp_path):
    recipe, run = dataclasses.replace(RECIPE, defense="agkd", epochs=1), Workdir(tmp_path)
    train(recipe, run, data)
    train(recipe, run, data)
    teacher = load_classifier("teacher", run.teacher.path)
    teacher.set_weights([0.5 * weights for weights in teacher.get_weights()])
    teacher.save(run.teacher.student)
    with pytest.raises(InputError, match="ckpt-4 is of a training with another teacher than now"):
        train(recipe, run, data)


def test_a_training_does_not_go_on_with_epochs_of_other_length(begun, data, tmp_path):
    copied(begun, tmp_path / "run")
    recipe = dataclasses.replace(RECIPE, batch_size=32)
    write_recipe(tmp_path / "run" / "flags.txt", recipe)  # which is not what the checkpoints are of
    with pytest.raises(InputError, match="ckpt-8 is of a training with 4 steps per epoch; now there are 2"):
        train(recipe, Workdir(tmp_path / "run"), data)


def test_an_index_that_is_damaged_in_a_name_is_no_other_network(begun, unbroken, data, tmp_path):
    newest, _ = copied(begun, tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / f"{os.path.basename(newest)}.index"
    content = path.read_bytes()
    place = content.rindex(b"OBJECT_GRAPH") if b"OBJECT_GRAPH" in content else content.index(b"student")
    path.write_bytes(content[:place] + bytes([content[place] ^ 0x80]) + content[place + 1 :])
    defense, (line,) = resumed(begun, tmp_path / "run", data)
    assert line.startswith(f"checkpoint {newest} is damaged: ")
    np.testing.assert_array_equal(defense.student.get_weights()[0], unbroken[0])


def test_no_flipped_bit_is_read_in_silence(begun, data, tmp_path):
    newest, older = copied(begun, tmp_path / "run")
    random = np.random.default_rng(0)
    told = 0
    states = {}
    for path in (newest, older):
        defense = RECIPE.build_defense(data)
        keeper = checkpoints_in(begun.checkpoints, defense, data)
        keeper._state.restore(path).assert_consumed()
        states[int(defense.step.numpy())] = defense.student.get_weights() + [
            v.numpy() for v in defense.optimizer.variables
        ]
    for part in ("index", "data-00000-of-00001"):
        for place in random.random(12):
            folder = tmp_path / f"{part}-{place}"
            shutil.copytree(tmp_path / "run" / "checkpoints", folder)
            flip(folder / f"{os.path.basename(newest)}.{part}", place)
            defense = RECIPE.build_defense(data)
            try:
                told += len(checkpoints_in(folder, defense, data).restore())
            except InputError:
                told += 1
                continue
            found = defense.student.get_weights() + [v.numpy() for v in defense.optimizer.variables]
            for one, other in zip(found, states[int(defense.step.numpy())], strict=True):
                np.testing.assert_array_equal(one, other)
    assert told > 12


def without_class(dataset, label):
    """Returns the data set without the images of its last class."""
    kept = [
        Examples(split.images[split.labels != label], split.labels[split.labels != label])
        for split in (dataset.train, dataset.validation, dataset.test)
    ]
    return dataclasses.replace(
        dataset,
        class_names=dataset.class_names[:label],
        **dict(zip(("train", "validation", "test"), kept, strict=True)),
    )


@pytest.mark.parametrize("difference", ["network", "class count", "version"])
def test_a_checkpoint_of_something_else_is_refused(begun, data, tmp_path, difference, monkeypatch):
    paths = copied(begun, tmp_path / "run")
    before = [pathlib.Path(f"{path}.index").read_bytes() for path in paths]
    recipe = RECIPE
    if difference == "network":
        recipe = dataclasses.replace(RECIPE, model="wrn-10-2")
        write_recipe(tmp_path / "run" / "flags.txt", recipe)
    elif difference == "class count":
        data = without_class(data, 9)
        Workdir(tmp_path / "run").class_names.unlink()  # an earlier version's run has no names
    else:  # one that keeps something more
        load = Checkpoints.__init__

        def with_more(self, *args, **kwargs):
            load(self, *args, **kwargs)
            self._state.more = tf.Variable(0.0)

        monkeypatch.setattr(Checkpoints, "__init__", with_more)
    with pytest.raises(InputError, match="ckpt-8 is of another network, class count or version"):
        train(recipe, Workdir(tmp_path / "run"), data)
    assert checkpoint_paths(Workdir(tmp_path / "run").checkpoints) == paths
    assert [pathlib.Path(f"{path}.index").read_bytes() for path in paths] == before


def test_a_disk_without_room_is_refused_before_anything_is_trained(begun, data, tmp_path, monkeypatch):
    before = copied(begun, tmp_path / "run")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 2**14))
    with pytest.raises(InputError, match=r"`workdir` .* has 0 MiB left on its disk; the checkpoints need \d+"):
        resumed(begun, tmp_path / "run", data)
    assert checkpoint_paths(tmp_path / "run" / "checkpoints") == before


def test_room_for_the_student_is_asked_for_before_its_teacher_is_trained(data, tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 2**14))
    with pytest.raises(InputError, match=r"`workdir` .* has 0 MiB left"):
        train(dataclasses.replace(RECIPE, defense="bml", init_from_teacher=True), Workdir(tmp_path / "run"), data)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("step", signal.SIGINT),
        ("validation", signal.SIGTERM),
        ("first validation", signal.SIGTERM),
        pytest.param("step", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("validation", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("first validation", signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_a_training_that_is_asked_to_stop_saves_and_goes_on_with_the_same_bits(
    begun, unbroken, data, tmp_path, monkeypatch, number, moment
):
    copied(begun, tmp_path / "run")

    class Asking(run_module.Throughput):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 1 and moment == "step":
                os.kill(os.getpid(), number)

        def on_test_batch_begin(self, batch, logs=None):
            if moment != "step":
                os.kill(os.getpid(), number)

    recipe = dataclasses.replace(RECIPE, epochs=4 if moment == "first validation" else 3)
    monkeypatch.setattr(run_module, "Throughput", Asking)
    if moment == "validation":  # of the last epoch: nothing is left to stop
        train(recipe, Workdir(tmp_path / "run"), data)
    else:
        place = "step 2 of epoch 3" if moment == "step" else "epoch 3"
        with pytest.raises(
            InterruptedTrainingError, match=f"stopped by {number.name} after {place}; the training is saved there"
        ):
            train(recipe, Workdir(tmp_path / "run"), data)
    monkeypatch.undo()
    write_recipe(tmp_path / "run" / "flags.txt", RECIPE)  # of three epochs again
    defense, lines = resumed(begun, tmp_path / "run", data)
    assert lines == []
    for found, expected in zip(defense.student.get_weights(), unbroken, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_teacher_that_is_asked_to_stop_at_its_end_is_not_followed_by_the_student(data, tmp_path, monkeypatch):
    class Asking(run_module.Throughput):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            if epoch + 1 == RECIPE.epochs:
                os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(run_module, "Throughput", Asking)
    recipe, run = dataclasses.replace(RECIPE, defense="agkd_bml"), Workdir(tmp_path)
    with pytest.raises(InterruptedTrainingError, match="stopped by SIGTERM after the teacher, which is saved"):
        train(recipe, run, data)
    assert run.teacher.student.is_file()
    assert not run.checkpoints.exists()


def test_several_workers_do_not_finish_an_epoch_that_one_began(begun, data, tmp_path, monkeypatch):
    class Asking(run_module.Throughput):
        def on_train_batch_begin(self, batch, logs=None):
            os.kill(os.getpid(), signal.SIGTERM)

    copied(begun, tmp_path / "run")
    monkeypatch.setattr(run_module, "Throughput", Asking)
    with pytest.raises(InterruptedTrainingError):
        resumed(begun, tmp_path / "run", data)
    monkeypatch.undo()
    monkeypatch.setattr(run_module, "has_several_workers", lambda: True)
    with pytest.raises(InputError, match="was stopped within epoch 3, which several workers cannot finish"):
        resumed(begun, tmp_path / "run", data)


def test_a_checkpoint_that_cannot_be_read_just_now_is_not_damaged(begun, data, tmp_path, monkeypatch):
    before = copied(begun, tmp_path / "run")

    def restore(self, path):
        raise tf.errors.UnavailableError(None, None, "the server does not answer")

    monkeypatch.setattr(tf.train.Checkpoint, "restore", restore)
    with pytest.raises(InputError, match="ckpt-8 cannot be read now: the server does not answer"):
        resumed(begun, tmp_path / "run", data)
    assert checkpoint_paths(tmp_path / "run" / "checkpoints") == before


def test_who_asks_twice_is_not_made_to_wait():
    before = signal.getsignal(signal.SIGINT)
    with interruptible() as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.name == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_signals_are_left_alone_in_another_thread():
    before, found = signal.getsignal(signal.SIGTERM), []

    def run():
        with interruptible() as interruption:
            found.append((interruption.name, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [(None, before)]


def test_within_an_epoch_a_checkpoint_is_made_when_its_time_has_come(data, tmp_path, monkeypatch):
    now, saved = 0.0, []
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    original = Checkpoints.save

    def save(self):
        saved.append(int(self._defense.step.numpy()))
        original(self)

    class Passing(run_module.Throughput):
        def on_train_batch_begin(self, batch, logs=None):
            nonlocal now
            now += 60.0

    monkeypatch.setattr(Checkpoints, "save", save)
    monkeypatch.setattr(run_module, "Throughput", Passing)
    recipe = dataclasses.replace(RECIPE, epochs=2)
    train(recipe, Workdir(tmp_path), data, checkpoint_every_minutes=2, keep_checkpoints=3)
    # Every second step; the end of an epoch is one, too, and begins the time anew.
    assert saved == [2, 4, 6, 8]
    assert [int(path.rpartition("-")[2]) for path in checkpoint_paths(tmp_path / "checkpoints")] == [8, 6, 4]


def test_a_leftover_of_a_killed_save_is_removed(data, tmp_path):
    left, half = tmp_path / ".123.student.keras", tmp_path / "checkpoints" / "ckpt-3_temp" / "part-00000-of-00001"
    half.parent.mkdir(parents=True)
    for path in (left, half):
        path.write_bytes(b"half")
    train(dataclasses.replace(RECIPE, epochs=1), Workdir(tmp_path), data)
    assert not left.exists()
    assert not half.parent.exists()
    assert isinstance(keras.saving.load_model(Workdir(tmp_path).student), keras.Model)
