"""One network of full size at a time."""

import gc

import pytest


@pytest.fixture(autouse=True)
def collected():
    """Lets go of a test's networks, hundreds of MiB which hold themselves, before the next one's."""
    yield
    gc.collect()
