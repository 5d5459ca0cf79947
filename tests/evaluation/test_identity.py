"""When results are of the same model, data and images, whatever has recorded them."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from agkd_tf.attacks import parse_attack
from agkd_tf.evaluation import EvaluationRecord, create_adversaries, network_digest, open_adversaries, run_attack
from agkd_tf.evaluation.identity import same_description, same_subject

FILE, OTHER_FILE, NETWORK = {"model_sha256": "f"}, {"model_sha256": "g"}, {"network_sha256": "n"}
DIGITS = {"dataset": "digits"}
# (one, other, whether they are the same)
SUBJECTS = [
    (FILE | DIGITS, FILE | DIGITS, True),
    (FILE | DIGITS, FILE | NETWORK | DIGITS, True),  # an earlier version's, and this one's of the same file
    (FILE | NETWORK | DIGITS, NETWORK, True),  # the file's network in memory
    (FILE | NETWORK, OTHER_FILE | NETWORK, True),  # saved twice
    (FILE | NETWORK, FILE | {"network_sha256": "m"}, True),  # another version of Keras describes it otherwise
    (FILE | DIGITS, NETWORK, False),  # nothing says that it is
    (FILE | DIGITS, OTHER_FILE | DIGITS, False),
    (NETWORK, {"network_sha256": "m"}, False),
    (FILE | {"pixel_range": [0, 255]}, FILE, False),
    (FILE | {"output": "a"}, FILE | {"output": "b"}, False),
    (FILE | NETWORK | {"pixel_range": [0, 255]}, NETWORK, True),  # the network is the adapted one
    (FILE | DIGITS, FILE | {"dataset": "cifar10"}, False),
    (FILE | DIGITS, FILE | DIGITS | {"image_size": 8}, False),
    (FILE | NETWORK | DIGITS, NETWORK | {"dataset": "cifar10"}, False),
    ({"model_name": "a"}, {"model_name": "a"} | DIGITS, True),
    ({"model_name": "a"}, {"model_name": "b"}, False),
    ({"model_name": "a"}, NETWORK, False),
    ({}, NETWORK, False),
]


@pytest.mark.parametrize(("one", "other", "expected"), SUBJECTS)
def test_a_model_is_known_again_by_its_network_file_or_name(one, other, expected):
    assert same_subject(one, other) == same_subject(other, one) == expected


def test_adversaries_are_known_by_subject_attack_seed_and_the_images_own_digest():
    one = {"subject": FILE, "attack": [{}], "seed": 0, "examples": {"name": "test", "sha256": "1"}}
    named = one | {"examples": {"name": "images 01234567", "sha256": "1"}}
    assert same_description(one, named | {"subject": FILE | NETWORK})
    for change in ({"subject": OTHER_FILE}, {"seed": 1}, {"attack": []}, {"examples": {"name": "test", "sha256": "2"}}):
        assert not same_description(one, one | change)
    assert not same_description(one, None)


def test_adversaries_of_an_earlier_version_are_continued(tmp_path):
    described = {"subject": FILE | DIGITS, "attack": [{}], "seed": 0, "examples": {"name": "test", "sha256": "1"}}
    create_adversaries(tmp_path / "a.npy", (3, 2, 2, 1), described)[1] = 0.25
    again = described | {"subject": FILE | NETWORK | DIGITS}
    assert (create_adversaries(tmp_path / "a.npy", (3, 2, 2, 1), again)[1] == 0.25).all()
    assert (open_adversaries(tmp_path / "a.npy", again)[1] == 0.25).all()


def network(activation="tanh", seed=0, dtype="float32", prefix=""):
    def name(text):
        return prefix + text if prefix else None

    images = keras.Input((8, 8, 1), name=name("images"))
    initializer = keras.initializers.RandomNormal(seed=seed)
    inner = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(2, 3, kernel_initializer=initializer, name=name("c"), dtype=dtype)],
        name=name("inner"),
    )
    x = layers.Activation(activation, name=name("a"))(inner(images))
    return keras.Model(images, layers.Dense(3, kernel_initializer=initializer, name=name("d"))(layers.Flatten()(x)))


def test_a_network_has_the_digest_of_its_configuration_and_weights_and_not_of_its_names(tmp_path):
    own = network()
    found = network_digest(own)
    own.save(tmp_path / "own.keras")
    assert network_digest(keras.saving.load_model(tmp_path / "own.keras")) == found
    frozen = network(prefix="tanh_")
    frozen.trainable = False
    assert network_digest(frozen) == found
    others = [network("relu"), network(seed=1), network(dtype="mixed_bfloat16"), network("relu", prefix="tanh_")]
    own.layers[-1].bias.assign([0, 0, 1e-3])
    digests = [found, *map(network_digest, [*others, own]), network_digest(network(), {"logits": "d"})]
    assert len(set(digests)) == len(digests) - 1  # the two with "relu"
    assert digests[1] == digests[4]


def test_a_layer_that_is_called_as_its_precision_does_not_hide_it():
    digests = set()
    for policy in ("mixed_float16", "mixed_bfloat16"):
        dense = layers.Dense(3, kernel_initializer="zeros", name=policy, dtype=policy)
        digests.add(network_digest(keras.Sequential([keras.Input((4,)), dense])))
    assert len(digests) == 2


def test_a_network_that_has_no_configuration_has_no_digest():
    class Own(keras.Model):
        def __init__(self, depth):
            super().__init__()
            self.dense = layers.Dense(depth.value)

        def call(self, images):
            return self.dense(images)

    class Depth:
        value = 2

    assert network_digest(Own(Depth())) is None


NAMED, UNNAMED = {"name": "test, first 30", "sha256": "01234567"}, {"name": "images 01234567", "sha256": "01234567"}
CLEAN = parse_attack("clean", eps=0.01)


def record(path, examples):
    return EvaluationRecord(path / "evaluation.json", {"model": "a"}, examples)


def run(found, key, fragile):
    outcome = found.begin(key, CLEAN, fragile[1].labels, seed=0)
    run_attack(*fragile, CLEAN, outcome=outcome)
    return found.add(key, CLEAN, seed=0)


def test_images_without_a_name_go_by_the_one_that_the_record_has(tmp_path, fragile):
    run(record(tmp_path, NAMED), "clean [first 30]", fragile)
    again = record(tmp_path, dict(UNNAMED))
    assert again.examples == NAMED
    assert again.find("clean [images 01234567]", CLEAN, seed=0) == "clean [first 30]"
    assert again.find("clean [images 01234567]", CLEAN, seed=1) == "clean [images 01234567]"
    other = record(tmp_path, {"name": "images 76543210", "sha256": "76543210"})
    assert other.find("clean [images 76543210]", CLEAN, seed=0) == "clean [images 76543210]"


@pytest.mark.parametrize("killed", [False, True])
def test_results_of_images_without_a_name_get_it_when_it_is_known(tmp_path, fragile, killed):
    first = record(tmp_path, dict(UNNAMED))
    result = run(first, "clean [images 01234567]", fragile)
    first.add_section("audit [images 01234567] on 20", {"a": 1})
    before = [(tmp_path / name).read_bytes() for name in ("evaluation.json", "evaluation.npz")]
    again = record(tmp_path, NAMED)
    assert [(tmp_path / name).read_bytes() for name in ("evaluation.json", "evaluation.npz")] == before
    assert again.find("clean [first 30]", CLEAN, seed=0) == "clean [first 30]"
    assert again.renamed == {"clean [images 01234567]": "clean [first 30]"}
    again.add_section("x", 1)
    if killed:  # between the two files
        (tmp_path / "evaluation.json").write_bytes(before[0])
    found = record(tmp_path, NAMED)
    np.testing.assert_array_equal(found.result("clean [first 30]", "clean").correct, result.correct)
    assert "audit [first 30] on 20" in found.sections
    assert list(json.loads((tmp_path / "evaluation.json").read_text())["attacks"]) == [
        "clean [images 01234567]" if killed else "clean [first 30]"
    ]


def test_an_audits_attacks_which_are_of_fewer_images_are_not_found(tmp_path, fragile):
    found = record(tmp_path, NAMED)
    run(found, "audit [first 30] on 20: clean", fragile)
    assert found.find("clean [first 30]", CLEAN, seed=0) == "clean [first 30]"
    assert not found.is_of_these_images("audit [first 30] on 20: clean")
