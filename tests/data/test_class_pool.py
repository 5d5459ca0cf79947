import threading

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from agkd_tf.data import ClassPool
from agkd_tf.errors import InputError

COUNT, CLASSES, PER_CLASS = 60, 4, 15


@pytest.fixture(scope="module")
def labels():
    return np.random.default_rng(0).permutation(np.arange(COUNT) % CLASSES)


@pytest.fixture(scope="module")
def images():
    """60 images whose pixels hold their own number."""
    return np.broadcast_to(np.arange(COUNT)[:, None, None, None], (COUNT, 2, 2, 1)).astype(np.uint8)


def numbers(pool, classes, seed=(0, 0)):
    """Returns the numbers of the images that the pool gives for `classes`."""
    sample = pool.sample(tf.constant(classes, tf.int32), seed).numpy()
    return np.round(sample[:, 0, 0, 0] * 255).astype(int)


def contents(pool, classes=range(CLASSES)):
    return frozenset(numbers(pool, np.repeat(list(classes), 300)))


def test_a_sample_has_the_classes_asked_for(images, labels):
    pool = ClassPool(images, labels, num_classes=CLASSES)
    classes = np.random.default_rng(1).integers(0, CLASSES, 500)
    np.testing.assert_array_equal(labels[numbers(pool, classes)], classes)


def test_samples_are_float_images_between_0_and_1():
    pool = ClassPool(np.full((1, 3, 2, 1), 255, np.uint8), [0], num_classes=1)
    sample = pool.sample(tf.constant([0, 0]), (0, 0))
    assert sample.dtype == tf.float32
    np.testing.assert_array_equal(sample, np.ones((2, 3, 2, 1)))


def test_a_class_is_sampled_uniformly_and_wholly(images, labels):
    pool = ClassPool(images, labels, num_classes=CLASSES)
    drawn = numbers(pool, np.full(3000, 2))
    counts = np.bincount(drawn, minlength=COUNT)[labels == 2]
    assert counts.min() > 0
    assert scipy.stats.chisquare(counts).pvalue > 1e-4


def test_draws_of_one_batch_are_independent_and_may_repeat(images, labels):
    pool = ClassPool(images, labels, num_classes=CLASSES)
    first, second = numbers(pool, np.full(6000, 1)).reshape(-1, 2).T
    assert (first == second).any()
    _, table = scipy.stats.contingency.crosstab(first, second)
    assert scipy.stats.chi2_contingency(table).pvalue > 1e-4


def test_the_seed_alone_fixes_a_sample_also_under_xla(images, labels):
    pool = ClassPool(images, labels, num_classes=CLASSES)
    classes, seed = tf.constant([3, 0, 0, 1]), tf.constant((4, 5))
    compiled = tf.function(pool.sample, jit_compile=True)
    np.testing.assert_allclose(compiled(classes, seed), pool.sample(classes, seed), atol=1e-6)
    assert not np.array_equal(numbers(pool, classes, (4, 5)), numbers(pool, classes, (4, 6)))


def test_a_bounded_pool_holds_its_capacity_of_each_class(images, labels):
    pool = ClassPool(images, labels, num_classes=CLASSES, capacity_per_class=4)
    assert pool.nbytes == 4 * CLASSES * 8  # of 4 pixels an image, a byte each, in eights
    for label in range(CLASSES):
        held = contents(pool, [label])
        assert len(held) == 4
        assert set(labels[list(held)]) == {label}


def test_a_class_below_the_capacity_is_held_whole():
    labels = np.array([0] * 9 + [1] * 2)
    images = np.arange(11, dtype=np.uint8).reshape(11, 1, 1, 1)
    pool = ClassPool(images, labels, num_classes=2, capacity_per_class=3)
    assert contents(pool, [1]) == {9, 10}
    assert len(contents(pool, [0])) == 3


def test_a_bounded_pool_is_a_function_of_seed_and_epoch(images, labels):
    pool, other, reseeded = (
        ClassPool(images, labels, num_classes=CLASSES, capacity_per_class=4, seed=seed) for seed in (7, 7, 8)
    )
    pool.refresh(1)
    passing = contents(pool)
    for each in (pool, other, reseeded):
        each.refresh(3)
    assert contents(pool) == contents(other)
    assert contents(pool) != passing
    assert contents(pool) != contents(reseeded)


def test_the_next_epochs_sample_is_read_ahead_in_another_thread(images, labels):
    readers = []

    class Source:
        def __getitem__(self, rows):
            readers.append(threading.current_thread())
            return images[rows]

        def __len__(self):
            return len(images)

    pool = ClassPool(Source(), labels, num_classes=CLASSES, capacity_per_class=4)
    for epoch in range(2, 5):
        pool.refresh(epoch)
        expected = ClassPool(images, labels, num_classes=CLASSES, capacity_per_class=4)
        expected.refresh(epoch)
        assert contents(pool) == contents(expected)
    here = [reader is threading.current_thread() for reader in readers]
    assert here[:4] == [True, True, False, False]  # when it is made, epoch 2, and ahead, epochs 3 and 4


def test_over_the_epochs_a_bounded_pool_holds_every_image(images, labels):
    pool = ClassPool(images, labels, num_classes=CLASSES, capacity_per_class=4)
    seen = set()
    for epoch in range(40):
        pool.refresh(epoch)
        seen |= contents(pool)
    assert seen == set(range(COUNT))


def test_a_compiled_step_sees_the_refreshed_pool(images, labels):
    pool = ClassPool(images, labels, num_classes=CLASSES, capacity_per_class=4)
    sample = tf.function(pool.sample)
    before = sample(tf.zeros(300, tf.int32), (0, 0)).numpy()
    pool.refresh(1)
    assert set(sample(tf.zeros(300, tf.int32), (0, 0)).numpy().flat) != set(before.flat)


def test_an_unbounded_pool_stays_as_it_is(images, labels):
    pool = ClassPool(images, labels, num_classes=CLASSES, capacity_per_class=PER_CLASS)
    before = numbers(pool, np.arange(CLASSES))
    pool.refresh(5)
    assert not pool.bounded
    np.testing.assert_array_equal(numbers(pool, np.arange(CLASSES)), before)


@pytest.mark.parametrize("capacity", [None, 4])
def test_a_memory_mapped_file_gives_what_its_array_gives(images, labels, capacity, tmp_path):
    mapped = np.memmap(tmp_path / "images", np.uint8, "w+", shape=images.shape)
    mapped[:] = images
    settings = {"num_classes": CLASSES, "capacity_per_class": capacity}
    assert contents(ClassPool(mapped, labels, **settings)) == contents(ClassPool(images, labels, **settings))


def test_float_images_between_0_and_1_are_accepted(images, labels):
    pool = ClassPool((images / 255).astype(np.float32), labels, num_classes=CLASSES)
    expected = ClassPool(images, labels, num_classes=CLASSES)
    np.testing.assert_array_equal(numbers(pool, labels), numbers(expected, labels))


@pytest.mark.parametrize("value", [-0.01, 1.01, 255.0, np.nan])
def test_float_images_outside_0_to_1_are_refused(value):
    with pytest.raises(InputError, match=r"images must be uint8, or float in \[0, 1\]"):
        ClassPool(np.full((1, 1, 1, 1), value), [0], num_classes=1)


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        ([0, 0, 2], {"num_classes": 3}, "no training image of class 1"),
        ([0, 1, 3], {"num_classes": 3}, r"labels must be in \[0, 2\]"),
        ([0, 1, -1], {"num_classes": 2}, r"labels must be in \[0, 1\]"),
        ([0, 1], {"num_classes": 2}, "3 images but 2 labels"),
        ([0, 1, 1], {"num_classes": 2, "capacity_per_class": 0}, "`capacity_per_class` must be in"),
    ],
)
def test_unfit_labels_and_sizes_are_refused(labels, settings, message):
    with pytest.raises(InputError, match=message):
        ClassPool(np.zeros((3, 2, 2, 1), np.uint8), labels, **settings)


def test_a_sample_of_any_class_is_uniform_and_knows_its_labels(images, labels):
    pool = ClassPool(images, labels, num_classes=CLASSES)
    drawn, classes = pool.sample_any(6000, (1, 2))
    found = np.round(drawn.numpy()[:, 0, 0, 0] * 255).astype(int)
    np.testing.assert_array_equal(labels[found], classes)
    assert scipy.stats.chisquare(np.bincount(found, minlength=COUNT)).pvalue > 1e-4
