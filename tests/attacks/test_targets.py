import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from agkd_tf.attacks import random_other_class
from agkd_tf.attacks.targets import random_other_class_per_example


def of_each_example(labels, classes, seed):
    draw = tf.function(random_other_class_per_example, autograph=False)  # thousands of examples are slow eagerly
    return draw(labels, classes, tf.range(len(labels)), seed)


@pytest.mark.parametrize("draw", [random_other_class, of_each_example])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_random_other_class_is_any_but_the_label(draw, classes):
    labels = tf.constant(np.arange(6000) % classes, tf.int32)
    drawn = draw(labels, classes, (3, 5)).numpy()
    assert not np.any(drawn == labels)
    for label in range(classes):
        counts = np.delete(np.bincount(drawn[labels == label], minlength=classes), label)
        assert len(counts) == 1 or scipy.stats.chisquare(counts).pvalue > 1e-4


def test_an_examples_random_class_does_not_depend_on_its_batch():
    labels, picked = tf.constant(np.arange(100) % 10, tf.int32), np.random.default_rng(0).permutation(100)[:30]
    part = random_other_class_per_example(tf.gather(labels, picked), 10, tf.constant(picked, tf.int32), (3, 5))
    np.testing.assert_array_equal(part, of_each_example(labels, 10, (3, 5)).numpy()[picked])
