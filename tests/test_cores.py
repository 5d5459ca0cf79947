"""Cores that share a batch: the same numbers, at once."""

import dataclasses
import threading

import numpy as np
import pytest
import tensorflow as tf

import agkd_tf.cores
from agkd_tf.attacks import parse_attack
from agkd_tf.cores import LEAST, by_all_cores, leave_cores_to_images
from agkd_tf.errors import Note
from agkd_tf.evaluation import run_attack
from agkd_tf.models import logits_of
from agkd_tf.processor import OPERATION_SWITCH, THREADS_SWITCH, num_cores, num_threads
from tools.laboratory.passes import CountedLogits


@pytest.fixture
def threads(monkeypatch):
    """Returns threads(count): from then on so many may compute at once."""
    return lambda count: monkeypatch.setattr(agkd_tf.cores, "num_threads", lambda: count)


def traced(step):
    """Gives a Python function the graph that a traced one has."""
    step.graph = tf.Graph()
    return step


def test_shares_are_computed_at_once_and_come_back_in_order(threads):
    threads(3)
    together, sizes = threading.Barrier(3, timeout=20), []

    @traced
    def step(images, numbers, factor):
        sizes.append(len(numbers))
        together.wait()  # a share that had to wait for another would never get past
        return images * factor, numbers

    images, numbers = np.random.default_rng(0).normal(size=(14, 2)), np.arange(14)
    doubled, same = by_all_cores(step)((tf.constant(images), tf.constant(numbers)), tf.constant(2.0, tf.float64))
    np.testing.assert_array_equal(doubled, 2 * images)
    np.testing.assert_array_equal(same, numbers)
    assert sorted(sizes) == [4, 5, 5]


@pytest.mark.parametrize(("rows", "shares"), [(0, 1), (1, 1), (2 * LEAST - 1, 1), (2 * LEAST, 2), (100, 8)])
def test_few_rows_are_not_torn_apart(threads, rows, shares):
    threads(8)
    calls = []

    @traced
    def step(images):
        calls.append(len(images))
        return (images,)

    (found,) = by_all_cores(step)((tf.range(rows),))
    np.testing.assert_array_equal(found, np.arange(rows))
    assert len(calls) == shares


def test_an_error_of_a_share_is_raised(threads):
    threads(2)

    @traced
    def step(numbers):
        tf.debugging.assert_less(numbers, 9, message="too large")

    with pytest.raises(tf.errors.InvalidArgumentError, match="too large"):
        by_all_cores(step)((tf.range(10),))


@pytest.mark.parametrize("name", ["pgd-20", "apgd-ce", "square"])
def test_an_attack_has_the_outcomes_and_passes_of_one_core(threads, fragile, name):
    network, examples = fragile
    found = []
    for count in (1, 3):
        threads(count)
        counted = CountedLogits(logits_of(network))
        attack = parse_attack(name, eps=0.01, num_classes=10)
        found.append((run_attack(counted, examples, attack, batch_size=30), counted.passes))
    (one, passes_of_one), (three, passes_of_three) = found
    assert 0 < one.accuracy < 1
    np.testing.assert_array_equal(one.correct, three.correct)
    np.testing.assert_array_equal(one.predictions, three.predictions)
    if name == "pgd-20":  # of the others' batches, images that have fallen leave, from other sizes at other moments
        assert passes_of_one == passes_of_three


@pytest.mark.parametrize("name", ["clean", "square"])  # in the graph itself, and in that of its loop
def test_a_users_python_is_not_run_at_once(threads, fragile, monkeypatch, name):
    threads(2)
    network, examples = fragile
    monkeypatch.setattr(agkd_tf.cores.concurrent.futures, "ThreadPoolExecutor", None)  # where it would have been

    def logits(images):
        found = tf.numpy_function(lambda pixels: network(pixels).numpy(), [images], tf.float32)
        return tf.ensure_shape(found, [None, 10])

    sequence = parse_attack(name, eps=0.01, num_classes=10)
    sequence = dataclasses.replace(sequence, attacks=tuple(few_queries(each) for each in sequence.attacks))
    assert 0 < run_attack(logits, examples, sequence).accuracy <= 1


def few_queries(attack):
    return dataclasses.replace(attack, queries=20) if hasattr(attack, "queries") else attack


def test_random_layers_are_not_run_at_once(threads, fragile, monkeypatch):
    threads(2)
    network, examples = fragile
    generator, attack = tf.random.Generator.from_seed(0), parse_attack("fgsm", eps=0.01)

    def noisy(images):
        return logits_of(network)(images) + generator.normal([tf.shape(images)[0], 10])

    monkeypatch.setattr(agkd_tf.cores.concurrent.futures, "ThreadPoolExecutor", None)
    with pytest.raises(TypeError, match="not callable"):
        run_attack(network, examples, attack)
    with pytest.warns(Note, match="two passes"):
        run_attack(noisy, examples, attack)


def test_threads_are_those_of_tensorflow_or_all_cores_and_one_beside_an_accelerator(monkeypatch):
    assert num_cores() >= 1
    for switch, threads in (("3", 3), ("", num_cores()), ("0", num_cores()), ("all", num_cores())):
        monkeypatch.setenv(THREADS_SWITCH, switch)
        assert num_threads() == threads
    devices = [tf.config.PhysicalDevice(f"/physical_device:{kind}:0", kind) for kind in ("CPU", "GPU")]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda *kind: devices)
    assert num_threads() == 1


def test_an_operation_has_one_core_unless_the_environment_or_an_accelerator_has_a_say(monkeypatch):
    calls = []
    for kind in ("intra", "inter"):
        name = f"set_{kind}_op_parallelism_threads"
        monkeypatch.setattr(tf.config.threading, name, lambda count, kind=kind: calls.append((kind, count)))
    leave_cores_to_images()
    assert calls == []  # these tests have the switch
    monkeypatch.delenv(OPERATION_SWITCH)
    leave_cores_to_images(3)
    assert calls == [("inter", 3), ("intra", 1)]
    monkeypatch.setattr("agkd_tf.cores.has_accelerator", lambda: True)
    leave_cores_to_images()
    assert len(calls) == 2
