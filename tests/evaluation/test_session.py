"""What the command line can do, from Python alone; and either goes on with what the other recorded."""

import json
import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import agkd_tf
from agkd_tf import InputError
from agkd_tf.attacks import PGD, Ball, TransferAttack
from agkd_tf.data import Examples
from agkd_tf.errors import Note
from agkd_tf.evaluation import EvaluationSession, Key, Subject, VerificationError, session, subject_of
from agkd_tf.models import Classifier
from agkd_tf.training import Recipe
from agkd_tf.training.recipe_file import write_recipe

GOLDEN = (
    pathlib.Path(__file__).parents[1] / "golden" / "evaluation_1"
)  # written before records knew networks by weights
FILE = GOLDEN / "model.keras"
COUNT = 24
QUIET = {"progress": "off", "eps": 0.1}


@pytest.fixture(scope="module")
def model():
    return keras.saving.load_model(FILE, compile=False)


@pytest.fixture(scope="module")
def some(digits):
    """(24 images, their labels)."""
    return digits.test.images[:COUNT], digits.test.labels[:COUNT]


@pytest.fixture
def computed(monkeypatch):
    """Names of the attacks that are computed, as they are."""
    names, run = [], session.run_attack

    def counted(logits, examples, attack, **settings):
        names.append(attack.name)
        return run(logits, examples, attack, **settings)

    monkeypatch.setattr(session, "run_attack", counted)
    return names


def content(folder):
    return json.loads((folder / "evaluation.json").read_text())


def without_times(table):
    return [line[:58].rstrip() for line in str(table).splitlines()[1:]]


def command(tool, folder, *flags):
    """Returns what the command line prints for 24 digits."""
    common = (f"--model_file={FILE}", "--dataset=digits", "--eps=0.1", f"--num_examples={COUNT}")
    found = tool("evaluate", *common, f"--record={folder}/evaluation.json", *flags)
    assert (found.returncode, found.stderr) == (0, "")
    return found.stdout


def test_the_table_is_the_command_lines_and_each_goes_on_with_the_others_record(tool, model, some, computed, tmp_path):
    settings = QUIET | {"attacks": ["clean", "pgd-2"], "folder": tmp_path / "python"}
    first = agkd_tf.evaluate(model, *some, **settings)
    printed = command(tool, tmp_path / "tool", "--attacks=clean,pgd-2")
    assert "\n".join(without_times(first)) in "\n".join(without_times(printed))
    # The network in memory, and arrays: not the file and the data set that the command line has named.
    again = agkd_tf.evaluate(
        model, *some, **settings | {"folder": tmp_path / "tool", "attacks": ["clean", PGD(2), "fgsm"]}
    )
    assert computed == ["clean", "pgd-2", "fgsm"]
    np.testing.assert_array_equal(again["pgd-2"].correct, first["pgd-2"].correct)
    keys = [f"{name} [linf 0.1, first 24]" for name in ("clean", "pgd-2", "fgsm")]
    assert list(content(tmp_path / "tool")["attacks"]) == keys
    # And the command line with what Python recorded, under the names that it gives itself.
    before = content(tmp_path / "python")["attacks"]
    assert all(Key.read(key).split.startswith("images ") for key in before)
    printed = command(tool, tmp_path / "python", "--attacks=clean,pgd-2")
    assert "runs again" not in printed
    assert "kept as" not in printed
    after = content(tmp_path / "python")["attacks"]
    assert list(after) == keys[:2]
    assert list(after.values()) == list(before.values())
    arrays = np.load(tmp_path / "python" / "evaluation.npz")
    assert {name.rpartition("/")[0] for name in arrays} == set(keys[:2])
    assert agkd_tf.evaluate(model, *some, **settings)["pgd-2"].seconds == round(first["pgd-2"].seconds, 2)
    assert computed == ["clean", "pgd-2", "fgsm"]


def test_a_network_that_changes_is_not_taken_for_what_it_was(some, tmp_path):
    own = keras.saving.load_model(FILE, compile=False)
    begun = EvaluationSession(own, *some, folder=tmp_path, **QUIET)
    begun.accuracy("clean")
    own.layers[-1].bias.assign_add(100 * np.eye(10)[0])
    with pytest.raises(InputError, match="has changed since this evaluation began"):
        begun.accuracy("clean")
    assert EvaluationSession(own, *some, folder=tmp_path, **QUIET).accuracies("clean")["clean"].accuracy < 20 / 24


def test_a_network_in_memory_goes_by_the_names_of_the_run_whose_folder_it_is_recorded_in(some, tmp_path, model):
    write_recipe(tmp_path / "flags.txt", Recipe(hyperparameters={"eps": 0.125}))
    own = EvaluationSession(model, *some, folder=tmp_path, progress="off")
    assert own.ball == Ball("linf", 0.125)
    assert str(own.key("pgd-2")).startswith("pgd-2 [images ")
    assert "linf" not in str(own.key("pgd-2"))
    assert "linf 0.25" in str(own.key("pgd-2", 0.25))


def test_a_function_that_changes_under_its_name_is_not_given_the_results_of_what_it_was(some, tmp_path, model):
    sign = [1.0]

    def changing(images):
        return sign[0] * model(images)

    settings = QUIET | {"folder": tmp_path, "model_name": "mine", "attacks": ["clean"]}
    agkd_tf.evaluate(changing, *some, **settings)
    agkd_tf.evaluate(changing, *some, **settings)
    sign[0] = 1.0 + 1e-6  # what another machine may round otherwise
    agkd_tf.evaluate(changing, *some, **settings)
    sign[0] = -1.0
    with pytest.raises(InputError, match=r"classifies image \d+ as \d, but .*json has \d for what should be"):
        agkd_tf.evaluate(changing, *some, **settings)


@pytest.fixture
def recorded(tmp_path):
    """A copy of what an earlier version's command line recorded."""
    return shutil.copytree(GOLDEN, tmp_path / "recorded")


def test_an_earlier_versions_record_is_continued(recorded, digits, computed):
    before = content(recorded)
    settings = QUIET | {"folder": recorded, "num_examples": COUNT}
    found = EvaluationSession(recorded / "model.keras", digits.test, **settings)
    assert found.accuracies(["clean", "pgd-2"])["pgd-2"].accuracy == pytest.approx(14 / 24)
    assert computed == []
    assert [sign.name for sign in found.audit(20).signs] == [
        sign["name"] for sign in before["audit [linf 0.1, first 24] on 20"]["signs"]
    ]
    assert [size for size, *_ in found.eps_sweep([0.05], "fgsm").points] == [0, 0.05]
    assert computed == []
    assert found.accuracies(["fgsm"]).worst_case.over == tuple(
        f"{name} [linf 0.1, first 24]" for name in ("clean", "fgsm", "pgd-2")
    )
    assert computed == ["fgsm"]
    assert content(recorded)["attacks"].items() > before["attacks"].items()
    assert not list(recorded.glob("*.previous-*"))


def test_what_was_broken_off_in_an_earlier_version_is_finished(recorded, digits, computed):
    key = "pgd-2 [linf 0.1, first 24]"
    with np.load(recorded / "evaluation.npz") as arrays:
        outcomes = dict(arrays)
    whole = outcomes[f"{key}/state"].copy()
    outcomes[f"{key}/state"][12:] = 0
    np.savez(recorded / "evaluation.npz", **outcomes)
    kept = content(recorded)
    del kept["attacks"][key]
    (recorded / "evaluation.json").write_text(json.dumps(kept))
    settings = QUIET | {"folder": recorded, "num_examples": COUNT, "attacks": ["pgd-2"]}
    found = agkd_tf.evaluate(recorded / "model.keras", digits.test, **settings)
    np.testing.assert_array_equal(found["pgd-2"].correct, whole >= 0)
    assert found["pgd-2"].seconds > outcomes[f"{key}/seconds"]


def test_a_record_of_another_network_or_of_other_images_is_never_mixed(model, some, tmp_path, computed):
    settings = QUIET | {"attacks": ["clean"], "folder": tmp_path}
    agkd_tf.evaluate(model, *some, **settings)
    agkd_tf.evaluate(model, some[0][:12], some[1][:12], **settings)
    assert computed == ["clean", "clean"]
    assert len(content(tmp_path)["attacks"]) == 2
    other = keras.models.clone_model(model)  # with fresh weights
    agkd_tf.evaluate(other, *some, **settings)
    assert len(content(tmp_path)["attacks"]) == 1
    assert (tmp_path / "evaluation.previous-1.json").exists()
    assert computed == 3 * ["clean"]


def test_a_network_that_is_built_again_is_the_same(model, some, tmp_path, computed):
    settings = QUIET | {"attacks": ["clean"], "folder": tmp_path}
    agkd_tf.evaluate(model, *some, **settings)
    stack = [layers.AveragePooling2D(4), layers.Flatten(), layers.Dense(10, kernel_initializer="zeros")]
    again = keras.Sequential([keras.Input((16, 16, 1)), *stack])
    again.set_weights(model.get_weights())
    agkd_tf.evaluate(again, *some, **settings)
    assert computed == ["clean"]


def export(model, folder):
    model.export(str(folder), verbose=False)
    return folder


# Name -> (model, folder) -> what is evaluated.
MODELS = {
    "a Classifier": lambda model, folder: Classifier(model),
    "a defense": lambda model, folder: agkd_tf.AdversarialTraining(model, eps=0.1),
    "a path": lambda model, folder: str(FILE),
    "a SavedModel": export,
    "a callable": lambda model, folder: lambda images: model(images),
    "a Subject": lambda model, folder: subject_of(model),
    "a network of bytes from its file": lambda model, folder: FILE,
}


@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_model(name, model, some, tmp_path):
    expected = model.predict(some[0] / np.float32(255), verbose=0).argmax(1)
    found = agkd_tf.evaluate(MODELS[name](model, tmp_path / "saved"), *some, attacks=["clean"], **QUIET)["clean"]
    np.testing.assert_array_equal(found.predictions, expected)
    assert found.accuracy == np.mean(expected == some[1])


def test_a_file_of_other_pixels_is_read_with_its_settings(some, tmp_path):
    stack = [layers.AveragePooling2D(4), layers.Flatten(), layers.Dense(10)]
    bytes_wanted = keras.Sequential([keras.Input((16, 16, 1)), *stack])
    bytes_wanted.save(tmp_path / "bytes.keras")
    settings = QUIET | {"attacks": ["clean"]}
    found = agkd_tf.evaluate(tmp_path / "bytes.keras", *some, pixel_range=(0, 255), **settings)
    np.testing.assert_array_equal(
        found["clean"].predictions, bytes_wanted(some[0].astype(np.float32)).numpy().argmax(1)
    )
    with pytest.raises(
        InputError, match=r"`pixel_range` is for a model from a file.*`agkd_tf.adapt\(model, pixel_range="
    ):
        agkd_tf.evaluate(bytes_wanted, *some, pixel_range=(0, 255), **settings)


class Batches(keras.utils.PyDataset):
    def __init__(self, images, labels):
        super().__init__()
        self._data = images, labels

    def __len__(self):
        return 3

    def __getitem__(self, number):
        return tuple(each[8 * number : 8 * number + 8] for each in self._data)


# Name -> (images, labels) -> (x, y).
WAYS = {
    "floats": lambda x, y: (x / np.float32(255), y),
    "tensors": lambda x, y: (tf.constant(x), tf.constant(y)),
    "lists": lambda x, y: (list(x), list(y)),
    "one-hot labels": lambda x, y: (x, np.eye(10)[y]),
    "float labels": lambda x, y: (x, y.astype(float)[:, None]),
    "batches": lambda x, y: (tf.data.Dataset.from_tensor_slices((x, y)).batch(7), None),
    "single images": lambda x, y: (tf.data.Dataset.from_tensor_slices((x, y)), None),
    "dicts": lambda x, y: (tf.data.Dataset.from_tensor_slices({"image": x, "label": y}).batch(7), None),
    "a dict": lambda x, y: ({"image": x, "label": y}, None),
    "a PyDataset": lambda x, y: (Batches(x, y), None),
    "Examples": lambda x, y: (Examples(x, y), None),
}


@pytest.mark.parametrize("name", WAYS)
def test_images_and_labels_every_way(name, model, some):
    found = agkd_tf.evaluate(model, *WAYS[name](*some), attacks=["clean"], **QUIET)["clean"]
    assert found.correct.sum() == 20
    assert found.num_examples == COUNT


# Name -> ((images, labels) -> (x, y), the message).
REFUSED = {
    "pixels": (lambda x, y: (x.astype(np.float32), y), r"float in \[0, 1\] \(divide by 255\?\)"),
    "labels beyond": (lambda x, y: (x, y + 5), r"labels must be in \[0, 9\]"),
    "soft labels": (lambda x, y: (x, np.full((COUNT, 10), 0.1)), r"soft labels"),
    "a shape": (lambda x, y: (x[:, :8], y), r"images must be \[any, 16, 16, 1\]"),
    "no labels": (lambda x, y: (x, None), "`y`, the labels of the images, is missing"),
    "fewer labels": (lambda x, y: (Examples(x, y[:-1]), None), "labels"),
    "labels twice": (lambda x, y: (Examples(x, y), y), "leave `y` out"),
    "a number": (lambda x, y: (3, y), "`x` must be images, a tf.data.Dataset, or one split"),
    "no images": (lambda x, y: (x[:0], y[:0]), "there are no images"),
    "an endless dataset": (
        lambda x, y: (tf.data.Dataset.from_tensor_slices((x, y)).batch(7).repeat(), None),
        "`x` never ends",
    ),
    "floats in a dataset": (
        lambda x, y: (tf.data.Dataset.from_tensor_slices((x.astype(np.float32), y)).batch(7), None),
        "divide by 255",
    ),
    "a generator": (lambda x, y: (((x, y) for _ in range(2)), None), "generator"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_refused_in_one_line(name, model, some):
    change, message = REFUSED[name]
    with pytest.raises(InputError, match=message) as error:
        agkd_tf.evaluate(model, *change(*some), attacks=["clean"], **QUIET)
    assert "\n" not in str(error.value)


# Settings -> the message.
SETTINGS = [
    ({"eps": None}, "`eps`, the radius of the ball, is needed: `eps=8 / 255`"),
    ({"eps": 8}, "did you mean 8/255"),
    ({"norm": "l1"}, "`norm` must be one of linf, l2"),
    ({"norm": "l2", "eps": None}, "`eps`, the radius of the ball, is needed"),
    ({"batch_size": 0}, "`batch_size` must be in"),
    ({"num_examples": 25}, "`num_examples` must be at most 24. Received: 25"),
    ({"png": True}, "`png` needs `adversaries=FOLDER`"),
    ({"progress": "loud"}, "`progress` must be one of"),
    ({"jit_compile": "yes"}, "`jit_compile` must be one of"),
    ({"attacks": ["pgd"]}, "`attacks` must be one or more of clean"),
    ({"attacks": [3]}, "`attacks` must be names"),
    ({"attacks": []}, "`attacks` must name at least one attack"),
    ({"attacks": None}, "`attacks` must be an attack or a list of attacks"),
    ({"attacks": {"pgd-2": PGD(2, step_size=0.05)}}, "`attacks` must be an attack or a list of attacks"),
    ({"adversaries": True}, "`adversaries` must be the path of a folder. Received: True"),
    ({"folder": True}, "`folder` must be the path of a folder. Received: True"),
    ({"logits_layer": "a"}, r"adapt one in memory before: `agkd_tf.models.Classifier\(model, logits='a'\)`"),
    ({"attacks": [PGD(2), PGD(2, step_size=0.05, named="pgd-2")]}, "two different attacks are called 'pgd-2'"),
    ({"attacks": ["transfer:nowhere"]}, "`attacks` must be a run's folder or an existing .keras"),
    ({"model_name": "mine"}, "`model_name` is for a callable"),
    ({"stepsize": 1}, "an evaluation has no setting `stepsize`. It has: adversaries, "),
]


@pytest.mark.parametrize(("settings", "message"), SETTINGS)
def test_settings_that_do_not_fit_are_refused_in_one_line(settings, message, model, some):
    with pytest.raises(InputError, match=message) as error:
        agkd_tf.evaluate(model, *some, **QUIET | {"attacks": ["clean"]} | settings)
    assert "\n" not in str(error.value)


# What is asked of a session -> the message.
ASKED = {
    "no sizes": (lambda own, data: own.eps_sweep([]), "`sizes` must be at least one size"),
    "one size": (lambda own, data: own.eps_sweep(0.1), "`sizes` must be a list of numbers"),
    "sweep by an object": (lambda own, data: own.eps_sweep([0.1], PGD(2)), "`attack` must be a text"),
    "few audited": (lambda own, data: own.audit(5), r"`examples` must be in \[20, "),
    "half an image": (lambda own, data: own.audit(20.5), "`examples` must be an integer"),
    "no neighbors": (lambda own, data: own.nearest_neighbors(data.train, neighbors=0), "`neighbors` must be in"),
    "more neighbors": (
        lambda own, data: own.nearest_neighbors(data.train.take(slice(0, 9))),
        r"`neighbors` must be in \[1, 9\]",
    ),
    "a metric": (lambda own, data: own.nearest_neighbors(data.train, metric="l1"), "`metric` must be one of"),
    "other images": (
        lambda own, data: own.nearest_neighbors((data.train.images[:, :8], data.train.labels)),
        r"images must be \[any, 16, 16, 1\]",
    ),
    "two attacks": (lambda own, data: own.accuracy(["clean", "fgsm"]), "one attack is needed.*Received: 2"),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_is_asked_is_checked_before_anything_is_computed(name, model, some, digits, computed):
    ask, message = ASKED[name]
    with pytest.raises(InputError, match=message):
        ask(EvaluationSession(model, *some, **QUIET), digits)
    assert computed == []


def test_sizes_of_numpy_are_recorded_as_numbers(model, some, tmp_path):
    found = EvaluationSession(model, *some, folder=tmp_path, **QUIET).eps_sweep(np.float32([0, 0.25]), "fgsm")
    assert str(found).startswith("fgsm, accuracy in % by linf eps: 0/255: 83.3, 0.25: ")


def test_a_network_of_two_outputs_is_read_as_its_message_says(some):
    images = keras.Input((16, 16, 1))
    flat = layers.Flatten()(images)
    two = keras.Model(images, [layers.Dense(10, name=name)(flat) for name in "ab"])
    with pytest.raises(InputError, match=r"Name its layer: `agkd_tf.models.Classifier\(model, logits=PATH\)`"):
        subject_of(two)
    assert subject_of(Classifier(two, logits="a")).num_classes == 10


def test_a_callable_is_recorded_by_the_name_that_it_is_given(model, some, tmp_path, computed):
    settings = QUIET | {"attacks": ["clean"], "folder": tmp_path}
    with pytest.raises(
        InputError,
        match=r'but a callable or a network without a configuration has no identity: give `model_name="..."`',
    ):
        agkd_tf.evaluate(lambda images: model(images), *some, **settings)
    for name in ("one", "one", "two"):
        agkd_tf.evaluate(lambda images: model(images), *some, model_name=name, **settings)
    assert computed == ["clean", "clean"]
    assert content(tmp_path)["subject"] == {"model_name": "two"}
    with pytest.raises(InputError, match=r'`model_name="..."`'):
        agkd_tf.evaluate(lambda images: model(images), *some, **QUIET, attacks=["clean"]).save(tmp_path / "saved")


def test_results_in_memory_are_saved_and_found_again(model, some, tmp_path, computed):
    settings = QUIET | {"attacks": ["clean", "fgsm"]}
    first = agkd_tf.evaluate(model, *some, **settings)
    assert not list(tmp_path.iterdir())
    first.save(tmp_path)
    again = agkd_tf.evaluate(model, *some, folder=tmp_path, **settings)
    assert computed == ["clean", "fgsm"]
    assert str(again) == str(first)


def test_results_that_are_saved_into_a_record_go_by_its_names_and_count_in_its_worst_case(
    model, digits, some, tmp_path, computed
):
    agkd_tf.evaluate(model, digits.test, num_examples=COUNT, attacks=["clean", "fgsm"], folder=tmp_path, **QUIET)
    agkd_tf.evaluate(model, *some, attacks=["clean", "pgd-2"], **QUIET).save(tmp_path)
    keys = [f"{name} [linf 0.1, first 24]" for name in ("clean", "fgsm", "pgd-2")]
    assert list(content(tmp_path)["attacks"]) == keys
    assert content(tmp_path)["worst_case [linf 0.1, first 24]"]["over"] == keys
    assert not [name for name in content(tmp_path) if "images" in name]
    del computed[:]
    agkd_tf.evaluate(model, *some, attacks=["fgsm", "pgd-2"], folder=tmp_path, **QUIET)
    assert computed == []
    other = keras.models.clone_model(model)
    with pytest.warns(
        Note, match=r"belongs to another model or other images; it is kept as evaluation.previous-1.json"
    ):
        agkd_tf.evaluate(other, *some, attacks=["clean"], **QUIET).save(tmp_path)


def test_an_attack_whose_name_begins_as_an_audit_counts_in_the_worst_case(model, some):
    found = agkd_tf.evaluate(model, *some, attacks=["clean", PGD(2, named="audition")], **QUIET)
    assert len(found.worst_case.over) == 2


def test_the_images_that_python_gave_without_a_name_keep_their_adversaries_when_they_get_one(
    model, digits, some, tmp_path, computed
):
    settings = QUIET | {"attacks": ["fgsm"], "folder": tmp_path, "adversaries": tmp_path / "adversaries"}
    agkd_tf.evaluate(model, *some, **settings)
    agkd_tf.evaluate(model, digits.test, num_examples=COUNT, **settings)
    assert computed == ["fgsm"]
    assert list(content(tmp_path)["attacks"]) == ["fgsm [linf 0.1, first 24]"]
    assert {path.name for path in (tmp_path / "adversaries").iterdir()} == {
        f"fgsm [linf 0.1, first 24].{suffix}" for suffix in ("npy", "json")
    }


def test_class_names_of_another_order_are_refused(digits, tmp_path, model, some):
    names = tuple(reversed(digits.class_names))
    subject = Subject("a model", model, 10, (16, 16, 1), {}, class_names=names)
    with pytest.raises(InputError, match=r"a model has other class names than digits.*class_names="):
        agkd_tf.evaluate(subject, digits.test, attacks=["clean"], **QUIET)
    wide = keras.Sequential([keras.Input((16, 16, 1)), layers.Flatten(), layers.Dense(12)])
    with pytest.warns(Note, match=r"has 12 classes without names, the data 10"):
        EvaluationSession(wide, digits.test.take(slice(0, 8)), **QUIET)


def test_adversaries_neighbors_a_sweep_and_a_verification_from_python(model, digits, tmp_path):
    settings = QUIET | {"num_examples": COUNT, "adversaries": tmp_path, "png": True}
    own = EvaluationSession(model, digits.test, folder=tmp_path, **settings)
    result = own.accuracies(["fgsm"])["fgsm"]
    assert own.verify("fgsm") == result.accuracy
    (pngs,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert len(list(pngs.glob("*.png"))) == COUNT
    neighbors = own.nearest_neighbors(digits.train, ["fgsm"], neighbors=3)
    assert neighbors["fgsm"].num_examples == COUNT
    assert "By the 3 nearest training images" in str(neighbors)
    assert f"{100 * neighbors['fgsm'].accuracy:.1f} (" in neighbors._repr_html_()
    # Those of other training images are others.
    fewer = own.nearest_neighbors(digits.train.take(slice(0, 9)), ["fgsm"], neighbors=3)
    assert fewer["fgsm"].accuracy != neighbors["fgsm"].accuracy
    sweep = own.eps_sweep([0.1, 0], "fgsm")
    assert [size for size, *_ in sweep.points] == [0, 0.1]
    assert sweep.points[1][1] == result.accuracy
    assert all(path.exists() for path in sweep.pictures)
    next(iter(sorted(pngs.glob("*.png")))).unlink()
    with pytest.raises(InputError, match="one PNG for each of 24 images"):
        own.verify("fgsm")
    unrounded = EvaluationSession(model, digits.test, folder=tmp_path, **settings | {"png": False})
    unrounded.accuracy("fgsm")
    np.save(tmp_path / "fgsm [linf 0.1, first 24].npy", np.zeros((COUNT, 16, 16, 1), np.float32))
    with pytest.raises(VerificationError, match=r"is not within linf 0.1"):
        unrounded.verify("fgsm")


def test_nearest_neighbors_need_no_folder(model, digits):
    own = EvaluationSession(model, digits.test, num_examples=COUNT, **QUIET)
    own.accuracies(["clean"], keep_adversaries=True)
    assert 0 < own.nearest_neighbors(digits.train, ["clean"], neighbors=3)["clean"].accuracy <= 1


def test_transfers_by_path_and_by_object_are_the_same_attack(model, some, tmp_path, computed):
    by_path = agkd_tf.evaluate(model, *some, attacks=[f"transfer:{FILE}", "pgd-20"], **QUIET)
    by_object = agkd_tf.evaluate(model, *some, attacks=[TransferAttack(model, named="pgd-20")], **QUIET)
    np.testing.assert_array_equal(by_object["pgd-20"].correct, by_path["pgd-20"].correct)
    assert by_object["pgd-20"].settings[0]["source_sha256"] == subject_of(model).digest
    with pytest.raises(InputError, match="the source of transfer is a callable"):
        agkd_tf.evaluate(model, *some, attacks=[TransferAttack(lambda images: model(images))], folder=tmp_path, **QUIET)


def test_an_audit_in_python_prints_as_the_command_lines(recorded, digits, computed):
    settings = QUIET | {"num_examples": COUNT, "folder": recorded, "examples": 20}
    found = agkd_tf.audit(recorded / "model.keras", digits.test, **settings)
    assert str(found).startswith("Signs of masked gradients, on 20 images:\n  ok      one step beats many: FGSM")
    assert len(found.signs) == 7
    assert not found.autoattack


def test_what_is_computed_once_more_is_computed_once(model, some, tmp_path, computed):
    settings = QUIET | {"folder": tmp_path}
    agkd_tf.evaluate(model, *some, attacks="fgsm", **settings)
    again = EvaluationSession(model, *some, recompute=True, **settings)
    again.accuracies(["fgsm"])
    again.eps_sweep([0.1, 0.2], "fgsm")
    assert computed == 3 * ["fgsm"]  # 0.1 twice, and 0.2


@pytest.mark.parametrize(("mode", "lines"), [("off", 0), ("lines", 1)])
def test_progress_is_said_or_not(mode, lines, model, some, capsys):
    agkd_tf.evaluate(model, *some, attacks=["clean"], eps=0.1, progress=mode)
    assert len(capsys.readouterr().out.splitlines()) == lines
