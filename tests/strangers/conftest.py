"""Networks with the same weights in any order of the tests."""

import keras
import pytest


@pytest.fixture(autouse=True)
def seeded():
    """Weights that a test initialises are the same each time."""
    keras.utils.set_random_seed(0)
