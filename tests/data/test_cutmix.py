import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.data.augmentation.cutmix import cutmix

BATCH, HEIGHT, WIDTH, CLASSES = 9, 16, 20, 5
LABELS = np.arange(BATCH, dtype=np.int32) % CLASSES
# The pixels of image i hold i + 1.
IMAGES = np.broadcast_to(np.arange(1, BATCH + 1, dtype=np.float32)[:, None, None, None], (BATCH, HEIGHT, WIDTH, 2))
mix = tf.function(cutmix, autograph=False)


def box_of(mixed):
    """(top, left, rows, columns) of the one box where any image differs from its own; rows = 0 without one."""
    foreign = (mixed != IMAGES).any(axis=(0, 3))
    rows, columns = np.flatnonzero(foreign.any(axis=1)), np.flatnonzero(foreign.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    assert foreign.sum() == len(rows) * len(columns)
    return rows[0], columns[0], len(rows), len(columns)


def check(mixed, soft_labels):
    """Compares one copy with an oracle that is given the box and the permutation seen in the pixels."""
    top, left, rows, columns = box_of(mixed)
    order = mixed[:, top, left, 0].astype(int) - 1 if rows else np.arange(BATCH)
    np.testing.assert_array_equal(np.sort(order), np.arange(BATCH))
    expected = IMAGES.copy()
    expected[:, top : top + rows, left : left + columns] = IMAGES[order, top : top + rows, left : left + columns]
    np.testing.assert_array_equal(mixed, expected)
    lam = 1 - rows * columns / (HEIGHT * WIDTH)
    own = np.eye(CLASSES)[LABELS]
    np.testing.assert_allclose(soft_labels, lam * own + (1 - lam) * own[order], atol=1e-6)
    return (top, left, rows, columns), tuple(order)


@pytest.fixture(scope="module")
def drawn():
    """The boxes and permutations of 400 seeds."""
    few = tf.constant(IMAGES)
    found = [check(*map(np.asarray, mix(few, LABELS, CLASSES, tf.constant((3, k))))) for k in range(400)]
    return np.array([box for box, _ in found]), [order for _, order in found]


def test_images_and_labels_are_mixed_by_the_same_box_and_permutation(drawn):
    boxes, orders = drawn
    assert len(set(orders)) > 200
    assert len(set(map(tuple, boxes))) > 300


def test_boxes_have_the_published_sizes(drawn):
    """lam is uniform; in the middle of the image, sides are 2 floor(floor(S sqrt(1 - lam)) / 2)."""
    rng = np.random.default_rng(0)
    root = np.sqrt(1 - rng.uniform(size=40_000))
    areas = []
    for size, count in ((HEIGHT, 40_000), (WIDTH, 40_000)):
        half, centre = np.floor(size * root).astype(int) // 2, rng.integers(0, size, count)
        areas.append(np.minimum(centre + half, size) - np.maximum(centre - half, 0))
    expected = areas[0] * areas[1] / (HEIGHT * WIDTH)
    area = drawn[0][:, 2] * drawn[0][:, 3] / (HEIGHT * WIDTH)
    for share in (0.25, 0.5, 0.75):
        assert np.quantile(area, share) == pytest.approx(np.quantile(expected, share), abs=0.06)
    assert area.mean() == pytest.approx(expected.mean(), abs=0.03)


def test_a_fixed_window_is_clipped_at_borders():
    boxes = [
        check(*map(np.asarray, mix(tf.constant(IMAGES), LABELS, CLASSES, tf.constant((7, k)), window=7)))[0]
        for k in range(60)
    ]
    for top, left, rows, columns in boxes:
        for first, length, size in ((top, rows, HEIGHT), (left, columns, WIDTH)):
            assert length == 6 or (first == 0 and 3 <= length < 6) or (first + length == size and 3 < length < 6)
    assert {6} < {rows for _, _, rows, _ in boxes}


def test_copies_are_mixed_differently_and_in_order():
    mixed, soft_labels = cutmix(tf.constant(IMAGES), LABELS, CLASSES, (0, 1), copies=3)
    copies = [check(*pair) for pair in zip(np.split(mixed, 3), np.split(soft_labels, 3), strict=True)]
    assert len(set(copies)) == 3
    alone = cutmix(tf.constant(IMAGES), LABELS, CLASSES, (0, 1))
    np.testing.assert_array_equal(alone[0], mixed[:BATCH])


def test_xla_mixes_the_same():
    arguments = tf.constant(IMAGES), LABELS, CLASSES, tf.constant((5, 1))
    plain, compiled = cutmix(*arguments), tf.function(cutmix, jit_compile=True, autograph=False)(*arguments)
    np.testing.assert_array_equal(compiled[0], plain[0])
    np.testing.assert_allclose(compiled[1], plain[1], atol=1e-6)
