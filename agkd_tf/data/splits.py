"""Divides an official training split into train and validation."""

import numpy as np
from sklearn.model_selection import train_test_split

from agkd_tf.data.image_dataset import Examples
from agkd_tf.errors import InputError, check_range

# The division belongs to the data set, not to a run: runs with different seeds use the same images.
SPLIT_SEED = 0


def hold_out_validation(
    examples: Examples, *, train_examples: int | None, validation_examples: int
) -> tuple[Examples, Examples]:
    """Returns (train, validation), disjoint parts of `examples`.

    Args:
        examples: `Examples` of the official training split.
        train_examples: train on the first N images; None for all that are not held out.
        validation_examples: how many images to hold out, stratified by class, from those that
            `train_examples` leaves over (from all images if it is None).

    Raises:
        InputError: if the split has too few images.
    """
    total = len(examples)
    check_range("train_examples", train_examples or 0, 0, total)
    check_range("validation_examples", validation_examples, 1, total - 1)
    candidates = np.arange(train_examples or 0, total)
    if validation_examples > len(candidates) - (0 if train_examples else 1):
        raise InputError(
            f"`train_examples` + `validation_examples` must be at most {total}. "
            f"Received: {train_examples} + {validation_examples}"
        )
    if validation_examples == len(candidates):
        validation = candidates
    else:
        labels = examples.labels[candidates]
        # Stratification needs two images of every class, and room for every class in both parts.
        counts = np.bincount(labels)
        classes = np.count_nonzero(counts)
        rest = len(candidates) - validation_examples
        possible = counts[counts > 0].min() >= 2 and min(validation_examples, rest) >= classes
        _, validation = train_test_split(
            candidates,
            test_size=validation_examples,
            random_state=SPLIT_SEED,
            stratify=labels if possible else None,
        )
    validation = np.sort(validation)
    train = np.arange(train_examples) if train_examples else np.setdiff1d(candidates, validation)
    return examples.take(train), examples.take(validation)
