"""Networks whose gradients say nothing are told of without an audit; those that have none are refused."""

import json
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from agkd_tf import InputError
from agkd_tf.attacks import PGD, Ball, SquareAttack, TransferAttack, bound, parse_attack
from agkd_tf.errors import Note
from agkd_tf.evaluation import run_attack


def quantized(network):
    return lambda images: network(tf.round(images * 15) / 15)


def as_integers(network):
    return lambda images: network(tf.cast(tf.cast(images * 255, tf.uint8), tf.float32) / 255)


def saturated(network):
    """The cross-entropy vanishes, the differences of logits do not."""
    return lambda images: 1e5 * network(images)


def partly_blocked(network):
    """Two of the first eight images have no gradient."""

    def logits(images):
        blocked = (tf.range(tf.shape(images)[0]) < 2)[:, None, None, None]
        return network(tf.where(blocked, tf.stop_gradient(images), images))

    return logits


# Name -> (how a callable is made of a network, attack, images without a gradient that are told of; 0 for none).
CALLABLES = {
    "the network": (lambda network: network, "fgsm", 0),
    "rounding": (quantized, "fgsm", 8),
    "integers": (as_integers, "pgd-2", 8),
    "integers under CW": (as_integers, "cw-2", 8),
    "rounding and no perturbation": (quantized, "clean", 0),
    "saturated logits": (saturated, "fgsm", 8),
    "saturated logits under CW": (saturated, "cw-2", 0),
    "a few images": (partly_blocked, "fgsm", 0),
    "another network's adversaries": (quantized, "transfer", 0),
}


@pytest.mark.parametrize("name", CALLABLES)
def test_gradients_that_are_exactly_zero_are_told_of(name, fragile):
    network, examples = fragile
    make, attack, count = CALLABLES[name]
    if attack == "transfer":
        attack = bound(TransferAttack(network, PGD(2)), Ball("linf", 0.01))
    else:
        attack = parse_attack(attack, eps=0.01)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = run_attack(make(network), examples.take(slice(0, 9)), attack)
    notes = [str(each.message) for each in caught if issubclass(each.category, Note)]
    if not count:
        assert notes == []
        return
    (note,) = notes
    assert note.startswith(f"the gradient with respect to the image is exactly zero for {count} of the first 8 images")
    assert "Judge by autoattack or square" in note
    assert "\n" not in note
    # As it says: the attack did nothing, or no more than its random start.
    assert result.accuracy >= 0.5


def test_a_network_that_cannot_be_differentiated_is_refused_and_square_breaks_it(fragile):
    network, examples = fragile

    def logits(images):
        return network(tf.raw_ops.PreventGradient(input=images, message="exported without gradients"))

    with pytest.raises(
        InputError, match=r"is not differentiable: .*; square needs no gradient: `attacks=\['clean', 'square'\]`"
    ) as error:
        run_attack(logits, examples, parse_attack("fgsm", eps=0.01))
    assert "\n" not in str(error.value)
    few = bound(SquareAttack(20), Ball("linf", 0.1))
    found, expected = (run_attack(each, examples, few) for each in (logits, network))
    np.testing.assert_array_equal(found.correct, expected.correct)
    assert found.accuracy < 1


def test_the_command_line_says_it_once_for_all_attacks(tool, tmp_path):
    network = keras.Sequential(
        [keras.Input((16, 16, 1)), layers.Discretization([0.2, 0.5]), layers.Flatten(), layers.Dense(10)]
    )
    network.export(str(tmp_path / "saved"), verbose=False)
    flags = (f"--saved_model={tmp_path}/saved", "--dataset=digits", "--eps=0.1", "--num_examples=12")
    found = tool("evaluate", *flags, f"--record={tmp_path}/r.json", "--attacks=clean,fgsm,pgd-2,bim-2")
    assert found.returncode == 0, found.stderr
    (line,) = found.stderr.splitlines()
    assert line.startswith("note: the gradient with respect to the image is exactly zero for 8 of the first 8 images")
    assert len(json.loads((tmp_path / "r.json").read_text())["attacks"]) == 4
