"""Saved adversaries bear out a recorded accuracy, or are found out."""

import numpy as np
import pytest

from agkd_tf import InputError
from agkd_tf.attacks import parse_attack
from agkd_tf.evaluation import (
    VerificationError,
    create_adversaries,
    open_adversaries,
    run_attack,
    unwritten,
    verify_adversaries,
)

EPS = 0.01
OF = {"model": "a", "attack": [{"name": "pgd-2"}], "seed": 0}


@pytest.fixture
def saved(fragile, tmp_path):
    """(classifier, examples, path of the adversaries, accuracy); the last of two stages counts."""
    network, examples = fragile
    path = tmp_path / "some folder" / "pgd.npy"
    adversaries = create_adversaries(path, examples.images.shape, OF)
    attack = parse_attack("pgd-2x2", eps=EPS)
    result = run_attack(network, examples, attack, batch_size=8, adversaries=adversaries)
    adversaries.flush()
    assert 0 < result.correct.sum() < 30
    return network, examples, path, result.accuracy


@pytest.mark.parametrize("batch_size", [7, 100])
def test_the_accuracy_is_recomputed_from_the_images_alone(saved, batch_size):
    logits, examples, path, accuracy = saved
    settings = {"eps": EPS, "norm": "linf", "accuracy": accuracy, "batch_size": batch_size}
    assert verify_adversaries(logits, examples, open_adversaries(path, OF), **settings) == pytest.approx(accuracy)


def test_a_file_of_pickles_is_not_opened(tmp_path):
    path = tmp_path / "pgd.npy"
    create_adversaries(path, (2, 2, 2, 1), OF)
    np.save(path, np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match=r"pgd.npy cannot be read: "):
        open_adversaries(path, OF)


def test_a_mismatch_is_found(saved):
    logits, examples, path, accuracy = saved
    settings = {"eps": EPS, "norm": "linf"}
    with pytest.raises(VerificationError, match="the record says"):
        verify_adversaries(logits, examples, open_adversaries(path, OF), accuracy=accuracy + 0.06, **settings)
    with pytest.raises(VerificationError, match=r"adversary 0 is not within linf 0.005"):
        verify_adversaries(logits, examples, open_adversaries(path, OF), accuracy=accuracy, eps=0.005, norm="linf")
    for value in (-0.01, np.nan):
        images = np.array(open_adversaries(path, OF))
        images[13, 0, 0, 0] = value
        with pytest.raises(VerificationError, match="adversary 13"):
            verify_adversaries(logits, examples, images, accuracy=accuracy, **settings)
    with pytest.raises(VerificationError, match="there are 29 adversaries for 30 images"):
        verify_adversaries(logits, examples, images[:29], accuracy=accuracy, **settings)


def test_two_images_that_change_places_are_found_though_the_accuracy_is_the_same(saved):
    logits, examples, path, accuracy = saved
    adversaries = open_adversaries(path, OF)
    predictions = logits.predict(adversaries, verbose=0).argmax(1)
    settings = {"eps": EPS, "norm": "linf", "accuracy": accuracy}
    verify_adversaries(logits, examples, adversaries, predictions=predictions, **settings)
    robust = predictions == examples.labels
    fallen, standing = np.flatnonzero(~robust)[0], np.flatnonzero(robust)[0]
    predictions[standing], predictions[fallen] = (predictions[standing] + 1) % 10, examples.labels[fallen]
    with pytest.raises(
        VerificationError, match=r"2 of 30 adversaries are classified differently.*the first is [0-9]+: class"
    ):
        verify_adversaries(logits, examples, adversaries, predictions=predictions, **settings)


def test_what_a_killed_evaluation_left_half_written_is_removed(tmp_path):
    path = tmp_path / "pgd-20 [first 24].npy"
    for name in (path.name, path.with_suffix(".json").name):
        (tmp_path / f".4711.{name}").write_bytes(b"half")
    create_adversaries(path, (2, 2, 2, 1), OF)
    assert {each.name for each in tmp_path.iterdir()} == {path.name, path.with_suffix(".json").name}


def test_a_damaged_or_missing_file_is_refused(saved, tmp_path):
    path = saved[2]
    path.write_bytes(path.read_bytes()[:50])
    for place in (path, tmp_path / "nowhere.npy"):
        with pytest.raises(InputError, match="cannot be read"):
            open_adversaries(place, OF)


def test_what_was_written_is_continued_and_the_rest_is_known_to_be_missing(tmp_path):
    path = tmp_path / "a.npy"
    create_adversaries(path, (3, 2, 2, 1), OF)[1] = 0.25
    again = create_adversaries(path, (3, 2, 2, 1), OF)
    np.testing.assert_array_equal(unwritten(again), [True, False, True])
    assert (again[1] == 0.25).all()


@pytest.mark.parametrize("change", [{"model": "b"}, {"seed": 1}, {"attack": [{"name": "pgd-3"}]}, None])
def test_adversaries_of_something_else_are_refused_and_kept_aside(tmp_path, change):
    path = tmp_path / "a.npy"
    create_adversaries(path, (2, 2, 2, 1), OF)[:] = 0.5
    other, shape = (OF, (3, 2, 2, 1)) if change is None else ({**OF, **change}, (2, 2, 2, 1))
    if change:
        with pytest.raises(InputError, match="belong to another model, data set or attack"):
            open_adversaries(path, other)
    assert unwritten(create_adversaries(path, shape, other)).all()
    assert (np.load(tmp_path / "a.previous-1.npy") == 0.5).all()
    assert (tmp_path / "a.previous-1.json").is_file()


def test_adversaries_without_a_description_are_nobodys(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((2, 2, 2, 1), np.float32))
    with pytest.raises(InputError, match="belong to another model"):
        open_adversaries(path, OF)
