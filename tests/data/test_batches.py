import functools

import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.data import Examples
from agkd_tf.data.batches import evaluation_batches, training_batches
from agkd_tf.data.image_dataset import ImagesOnDisk
from agkd_tf.distribution import Share
from agkd_tf.errors import InputError

COUNT, BATCH = 23, 5
STEPS = COUNT // BATCH  # of an epoch


@pytest.fixture(scope="module")
def examples():
    """23 images whose pixels hold their own place in the split."""
    places = np.arange(COUNT)
    images = np.broadcast_to(places[:, None, None, None], (COUNT, 2, 2, 1)).astype(np.uint8)
    return Examples(images, (places % 3).astype(np.int32))


def indices(examples, steps, **settings):
    batches = training_batches(examples, batch_size=BATCH, **{"seed": 1, **settings})
    return np.stack([batch["index"].numpy() for batch in batches.take(steps)])


@pytest.mark.parametrize("first_step", [1, STEPS, 2 * STEPS + 3])
def test_starting_at_step_k_gives_the_batches_that_skipping_k_gives(examples, first_step):
    resumed = indices(examples, STEPS, first_step=first_step)
    np.testing.assert_array_equal(resumed, indices(examples, first_step + STEPS)[first_step:])


def test_an_epoch_visits_no_example_twice_and_fills_every_batch(examples):
    for epoch in indices(examples, 6 * STEPS).reshape(6, -1):
        assert len(np.unique(epoch)) == STEPS * BATCH
        assert epoch.min() >= 0
        assert epoch.max() < COUNT


def test_epochs_differ_in_order_and_in_the_examples_left_over(examples):
    epochs = indices(examples, 6 * STEPS).reshape(6, -1)
    assert len({tuple(epoch) for epoch in epochs}) == 6
    assert len({frozenset(epoch) for epoch in epochs}) > 1
    assert set(epochs.flat) == set(range(COUNT))


def test_the_seed_alone_fixes_the_order(examples):
    np.testing.assert_array_equal(indices(examples, STEPS), indices(examples, STEPS))
    assert not np.array_equal(indices(examples, STEPS), indices(examples, STEPS, seed=2))


def test_the_shares_of_two_hosts_make_up_each_batch(examples):
    """Four replicas, two a host."""
    whole = {
        "train": training_batches(examples, batch_size=8, seed=3, first_step=1).take(3),
        "evaluate": evaluation_batches(examples, batch_size=8),
    }
    hosts = [Share(first, 2, 4) for first in (0, 2)]
    parts = {
        "train": [
            training_batches(examples, batch_size=8, seed=3, first_step=1, share=share).take(6) for share in hosts
        ],
        "evaluate": [evaluation_batches(examples, batch_size=8, share=share) for share in hosts],
    }
    for kind, batches in whole.items():
        elements = [list(part) for part in parts[kind]]
        for step, batch in enumerate(batches):
            replicas = [element for host in elements for element in host[2 * step : 2 * step + 2]]
            for name, value in batch.items():
                np.testing.assert_array_equal(np.concatenate([part[name] for part in replicas]), value)
        assert all(len(host) == 2 * (step + 1) for host in elements)


def test_a_batch_that_replicas_cannot_share_is_refused(examples):
    for batches in (functools.partial(training_batches, seed=0), evaluation_batches):
        with pytest.raises(InputError, match="divisible by the 2 replicas"):
            batches(examples, batch_size=5, share=Share(0, 2, 2))


def test_a_training_batch_keeps_image_label_and_index_together(examples):
    for batch in training_batches(examples, batch_size=BATCH, seed=0).take(STEPS):
        np.testing.assert_array_equal(batch["image"], examples.images[batch["index"]])
        np.testing.assert_array_equal(batch["label"], examples.labels[batch["index"]])
        assert batch["image"].dtype == tf.uint8


def test_a_batch_may_be_as_large_as_the_data_but_not_larger(examples):
    (batch,) = training_batches(examples, batch_size=COUNT, seed=0).take(1)
    assert sorted(batch["index"].numpy()) == list(range(COUNT))
    with pytest.raises(InputError, match=r"`batch_size` must be in \[1, 23\]. Received: 24"):
        training_batches(examples, batch_size=COUNT + 1, seed=0)


@pytest.mark.parametrize("batch_size", [1, BATCH, COUNT, 40])
def test_evaluation_gives_every_example_once_and_in_order(examples, batch_size):
    batches = list(evaluation_batches(examples, batch_size=batch_size))
    valid = np.concatenate([batch["valid"] for batch in batches]).astype(bool)
    for key, expected in (("index", np.arange(COUNT)), ("image", examples.images), ("label", examples.labels)):
        np.testing.assert_array_equal(np.concatenate([batch[key] for batch in batches])[valid], expected)


def test_the_last_evaluation_batch_is_filled_with_its_first_image(examples):
    *_, last = evaluation_batches(examples, batch_size=BATCH)
    np.testing.assert_array_equal(last["index"], [20, 21, 22, 20, 20])
    np.testing.assert_array_equal(last["valid"], [1, 1, 1, 0, 0])
    np.testing.assert_array_equal(last["image"], examples.images[last["index"]])


@pytest.mark.parametrize("make", [evaluation_batches, lambda *args, **sizes: training_batches(*args, **sizes, seed=0)])
def test_all_batches_have_one_static_shape(examples, make):
    batches = make(examples, batch_size=BATCH)
    assert batches.element_spec["image"].shape == (BATCH, 2, 2, 1)
    assert {spec.shape[0] for spec in batches.element_spec.values()} == {BATCH}


@pytest.fixture
def on_disk(examples, tmp_path):
    np.save(tmp_path / "images.npy", examples.images)
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    return Examples(ImagesOnDisk(images, np.arange(COUNT)), examples.labels)


@pytest.mark.parametrize("batches_of", [functools.partial(training_batches, seed=3), evaluation_batches])
def test_images_on_a_disk_make_the_same_batches(examples, on_disk, batches_of):
    both = (list(batches_of(each, batch_size=BATCH).take(4)) for each in (examples, on_disk))
    for of_memory, of_disk in zip(*both, strict=True):
        assert of_disk["image"].shape == (BATCH, 2, 2, 1)
        for name in of_memory:
            np.testing.assert_array_equal(of_memory[name], of_disk[name])


def test_batches_for_images_on_the_device_leave_them_out(examples):
    (batch,) = training_batches(examples, batch_size=BATCH, seed=3, with_images=False).take(1)
    (whole,) = training_batches(examples, batch_size=BATCH, seed=3).take(1)
    assert set(batch) == {"label", "index"}
    np.testing.assert_array_equal(batch["index"], whole["index"])
