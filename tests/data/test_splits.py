import numpy as np
import pytest

from agkd_tf.data import Examples, hold_out_validation
from agkd_tf.errors import InputError

LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [30, 60, 110]))


def divide(train_examples, validation_examples, labels=LABELS):
    """Returns the places of the training and of the validation images."""
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    parts = hold_out_validation(
        Examples(images, labels), train_examples=train_examples, validation_examples=validation_examples
    )
    for part in parts:
        np.testing.assert_array_equal(part.labels, labels[part.images.ravel()])
    return [part.images.ravel().astype(int) for part in parts]


@pytest.mark.parametrize(
    ("train_examples", "validation_examples"), [(None, 40), (0, 199), (50, 40), (50, 150), (199, 1)]
)
def test_the_parts_are_disjoint_and_of_the_sizes_asked_for(train_examples, validation_examples):
    train, validation = divide(train_examples, validation_examples)
    assert len(train) == (train_examples or 200 - validation_examples)
    assert len(validation) == validation_examples
    assert not set(train) & set(validation)
    for part in (train, validation):
        np.testing.assert_array_equal(part, np.unique(part))


def test_the_validation_part_has_the_classes_proportions():
    _, validation = divide(None, 20)
    np.testing.assert_array_equal(np.bincount(LABELS[validation]), [3, 6, 11])


@pytest.mark.parametrize("validation_examples", [2, 198])
def test_parts_too_small_for_proportions_are_still_drawn(validation_examples):
    assert len(divide(None, validation_examples)[1]) == validation_examples
    assert len(divide(None, 1, labels=np.array([0, 0, 0, 1]))[1]) == 1


def test_the_division_depends_on_no_state():
    np.random.seed(1)
    first = divide(None, 40)
    np.random.seed(2)
    again = divide(None, 40)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_train_examples_keeps_the_first_and_validates_on_others():
    train, validation = divide(50, 40)
    np.testing.assert_array_equal(train, np.arange(50))
    assert validation.min() >= 50


@pytest.mark.parametrize(
    ("train_examples", "validation_examples", "message"),
    [
        (201, 10, "`train_examples` must be in"),
        (-1, 10, "`train_examples` must be in"),
        (None, 200, "`validation_examples` must be in"),
        (None, 0, "`validation_examples` must be in"),
        (150, 51, r"`train_examples` \+ `validation_examples` must be at most 200. Received: 150 \+ 51"),
        (200, 1, "must be at most 200"),
    ],
)
def test_more_examples_than_there_are_are_refused(train_examples, validation_examples, message):
    with pytest.raises(InputError, match=message):
        divide(train_examples, validation_examples)
