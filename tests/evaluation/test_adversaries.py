"""Saved adversaries bear out a recorded accuracy, or are found out."""

import numpy as np
import pytest

from agkd_tf import InputError
from agkd_tf.attacks import parse_attack
from agkd_tf.evaluation import (
    VerificationError,
    create_adversaries,
    evaluate,
    open_adversaries,
    verify_adversaries,
)
from agkd_tf.models import Classifier

EPS = 0.1


@pytest.fixture
def saved(digits, tiny_model, tmp_path):
    """(classifier, examples, path of the adversaries, accuracy); the last of two stages counts."""
    examples, path = digits.test.take(slice(0, 20)), tmp_path / "some folder" / "pgd.npy"
    adversaries = create_adversaries(path, examples.images.shape)
    logits = Classifier(tiny_model).logits
    attack = parse_attack("pgd-2x2", eps=EPS)
    result = evaluate(logits, examples, attack, batch_size=8, adversaries=adversaries)
    adversaries.flush()
    return logits, examples, path, result.accuracy


@pytest.mark.parametrize("batch_size", [7, 100])
def test_the_accuracy_is_recomputed_from_the_images_alone(saved, batch_size):
    logits, examples, path, accuracy = saved
    settings = {"eps": EPS, "norm": "linf", "accuracy": accuracy, "batch_size": batch_size}
    assert verify_adversaries(logits, examples, open_adversaries(path), **settings) == pytest.approx(accuracy)


def test_a_mismatch_is_found(saved):
    logits, examples, path, accuracy = saved
    settings = {"eps": EPS, "norm": "linf"}
    with pytest.raises(VerificationError, match="recorded are"):
        verify_adversaries(logits, examples, open_adversaries(path), accuracy=accuracy + 0.06, **settings)
    with pytest.raises(VerificationError, match=r"adversary 0 is not within linf 0.05"):
        verify_adversaries(logits, examples, open_adversaries(path), accuracy=accuracy, eps=0.05, norm="linf")
    for value in (-0.01, np.nan):
        images = np.array(open_adversaries(path))
        images[13, 0, 0, 0] = value
        with pytest.raises(VerificationError, match="adversary 13"):
            verify_adversaries(logits, examples, images, accuracy=accuracy, **settings)
    with pytest.raises(VerificationError, match="19 adversaries of 20 images"):
        verify_adversaries(logits, examples, images[:19], accuracy=accuracy, **settings)


def test_a_damaged_or_missing_file_is_refused(saved, tmp_path):
    path = saved[2]
    path.write_bytes(path.read_bytes()[:50])
    for place in (path, tmp_path / "nowhere.npy"):
        with pytest.raises(InputError, match="cannot be read"):
            open_adversaries(place)
