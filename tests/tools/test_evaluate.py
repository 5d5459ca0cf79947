"""What tools.evaluate refuses, says and records, of models and images that it did not make itself."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers


@pytest.fixture
def evaluate(tool, tmp_path):
    """Returns evaluate(model, *flags): a call on the digits, with a record in the test's folder."""

    def call(model, *arguments, dataset="digits"):
        common = (f"--dataset={dataset}", f"--record={tmp_path}/r.json", "--eps=0.1")
        common += ("--num_examples=24",) if dataset == "digits" else ()
        return tool("evaluate", model, *common, *arguments)

    return call


def refused(found, expected):
    assert found.returncode == 2, found.stderr
    (line,) = found.stderr.strip().splitlines()
    assert expected in line


def record(tmp_path):
    return json.loads((tmp_path / "r.json").read_text())


class Linear(tf.Module):
    """Two outputs, the second of which is the first's negative."""

    def __init__(self, shape, classes, seed=0):
        super().__init__()
        size = int(np.prod(shape))
        self.weight = tf.Variable(np.random.default_rng(seed).normal(size=(size, classes)).astype(np.float32))
        self.predict = tf.function(self._predict, input_signature=[tf.TensorSpec([None, *shape], tf.float32)])

    def _predict(self, images):
        scores = tf.reshape(images, [-1, self.weight.shape[0]]) @ self.weight
        return {"logits": scores, "negative": -scores, "probabilities": tf.nn.softmax(scores)}


def save(folder, shape=(16, 16, 1), classes=10, seed=0):
    module = Linear(shape, classes, seed)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.predict})
    return f"--saved_model={folder}"


def dense(path, activation=None, weight="glorot_uniform"):
    """Writes a network that has no feature map."""
    last = layers.Dense(10, activation=activation, kernel_initializer=weight)
    keras.Sequential([keras.Input((16, 16, 1)), layers.Flatten(), last]).save(path)
    return f"--model_file={path}"


@pytest.fixture
def photos(tmp_path):
    """Folder of eight test images of each of three classes."""
    for split in ("train", "test"):
        for number, name in enumerate(("a", "b", "c")):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for place in range(8):
                image = np.full((8, 8, 3), 60 * number + 5 * place, np.uint8)
                (tmp_path / "photos" / split / name / f"{place}.png").write_bytes(tf.io.encode_png(image).numpy())
    return tmp_path / "photos"


def test_another_output_of_a_saved_model_is_another_model(evaluate, tmp_path):
    model, classes = save(tmp_path / "saved"), []
    for flags in (["--output=logits"], ["--output=negative"], ["--output=probabilities", "--probabilities"]):
        found = evaluate(model, *flags, "--attacks=clean")
        assert found.returncode == 0, found.stderr
        classes.append(np.load(tmp_path / "r.npz")["clean [linf 0.1, first 24]/prediction"])
        assert ("kept as" in found.stdout) == (len(classes) > 1)
    assert np.all(classes[0] != classes[1])
    np.testing.assert_array_equal(classes[0], classes[2])
    refused(evaluate(model, "--output=logits", "--probabilities"), "`probabilities` must be in [0, 1] and sum to 1")


def test_images_that_changed_are_evaluated_anew_and_few_classes_are_told_of(evaluate, tmp_path, photos):
    model, data = save(tmp_path / "saved", (8, 8, 3), 3), f"image_folder:{photos}"
    flags = ("--attacks=clean,apgd-t", "--validation_examples=3")
    found = evaluate(model, *flags, dataset=data)
    assert found.returncode == 0, found.stderr
    assert "note: 3 classes are too few for AutoAttack's ratio; apgd-t ascends the margin instead" in found.stdout
    first = record(tmp_path)
    found = evaluate(model, *flags, "--num_examples=12", dataset=data)
    assert (found.returncode, "kept as" in found.stdout) == (0, False), found.stderr
    assert record(tmp_path)["attacks"].items() > first["attacks"].items()
    image = np.full((8, 8, 3), 250, np.uint8)
    (photos / "test" / "b" / "3.png").write_bytes(tf.io.encode_png(image).numpy())
    found = evaluate(model, *flags, dataset=data)
    assert found.returncode == 0, found.stderr
    (note,) = (line for line in found.stdout.splitlines() if "kept as" in line)
    assert note.endswith("other images, or does not say to which; it is kept as r.previous-1.json")
    assert set(record(tmp_path)["attacks"]) == set(first["attacks"])
    assert json.loads((tmp_path / "r.previous-1.json").read_text())["attacks"].items() > first["attacks"].items()


def test_a_network_without_a_feature_map_is_attacked_and_a_program_has_no_neighbors(evaluate, tmp_path):
    model = dense(tmp_path / "dense.keras")
    attacked = evaluate(model, f"--attacks=clean,pgd-2,transfer:{tmp_path}/dense.keras")
    assert attacked.returncode == 0, attacked.stderr
    found = record(tmp_path)["attacks"]
    assert found["pgd-2 [linf 0.1, first 24]"]["accuracy"] <= found["clean [linf 0.1, first 24]"]["accuracy"]
    refused(evaluate(save(tmp_path / "saved"), "--knn"), f"the embedding, which {tmp_path}/saved does not give")
    refused(evaluate(dense(tmp_path / "relu.keras", activation="relu")), "agkd_tf.models.remove_softmax")


def test_a_source_of_transfer_is_checked_by_name_before_anything_is_recorded(evaluate, tmp_path):
    model = save(tmp_path / "saved")
    dense(tmp_path / "nan.keras", weight=keras.initializers.Constant(np.nan))
    dense(tmp_path / "relu.keras", activation="relu")
    for name, expected in (("nan", "8 of the first 8 images are NaN"), ("relu", "ends in relu")):
        source = f"transfer:{tmp_path}/{name}.keras"
        found = evaluate(model, f"--attacks=clean,{source}")
        refused(found, "error: `attacks`")
        refused(found, f"{tmp_path}/{name}.keras: ")
        refused(found, expected)
    assert not (tmp_path / "r.json").exists()


@pytest.mark.slow
def test_an_audit_is_done_anew_when_its_source_is_another(evaluate, tmp_path):
    model, sections = save(tmp_path / "saved"), []
    for seed in (1, 2):
        save(tmp_path / "source", seed=seed)
        flags = (f"--attacks=transfer:{tmp_path}/source", "--audit", "--audit_examples=20")
        found = evaluate(model, *flags)
        assert found.returncode == 0, found.stderr
        sections.append(next(value for name, value in record(tmp_path).items() if name.startswith("audit")))
    assert sections[0]["source_sha256"] != sections[1]["source_sha256"]
    # The same one is not looked at again.
    written = (tmp_path / "r.json").stat().st_mtime_ns
    assert evaluate(model, *flags).returncode == 0
    assert (tmp_path / "r.json").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--output=logits"], "`output` is for a `saved_model`"),
        (["--probabilities"], "`probabilities` is for a `saved_model`"),
        (["--verify", "--adversaries=x", "--audit"], "`audit` computes new results, but `verify` does not"),
        (["--verify", "--adversaries=x", "--knn"], "`knn` computes new results"),
        (["--verify", "--adversaries=x", "--eps_sweep=0"], "`eps_sweep` computes new results"),
    ],
)
def test_flags_without_effect_are_refused(evaluate, tmp_path, flags, expected):
    refused(evaluate(dense(tmp_path / "dense.keras"), *flags), expected)
