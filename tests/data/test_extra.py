"""Auxiliary images in training batches."""

import numpy as np
import pytest

from agkd_tf.data import Examples, ImageDataset
from agkd_tf.data.batches import training_batches
from agkd_tf.data.extra import Extra, load_extra
from agkd_tf.distribution import Share
from agkd_tf.errors import InputError

COUNT, BATCH, EXTRA, OTHERS = 23, 8, 5, 300
OWN = BATCH - EXTRA
STEPS = COUNT // OWN  # of an epoch


def coded(numbers, base):
    """Images whose pixels hold base and number, with labels that follow from both."""
    images = np.stack([np.full_like(numbers, base), numbers // 256, numbers % 256], axis=-1).astype(np.uint8)
    return Examples(np.broadcast_to(images[:, None, None], (len(numbers), 2, 2, 3)), (numbers + base) % 7)


EXAMPLES, EXTRAS = coded(np.arange(COUNT), 0), coded(np.arange(OTHERS), 1)


def batches(steps, **settings):
    found = training_batches(EXAMPLES, **{"batch_size": BATCH, "seed": 1, "extra": Extra(EXTRAS, EXTRA), **settings})
    return [{name: value.numpy() for name, value in batch.items()} for batch in found.take(steps)]


def read(batch):
    """Returns (which images are auxiliary, the number of each), and checks labels and indices against the pixels."""
    pixels = batch["image"][:, 0, 0].astype(int)
    is_extra, numbers = pixels[:, 0] == 1, 256 * pixels[:, 1] + pixels[:, 2]
    np.testing.assert_array_equal(batch["label"], (numbers + is_extra) % 7)
    np.testing.assert_array_equal(batch["index"], np.where(is_extra, -1, numbers))
    return is_extra, numbers


def test_each_batch_has_its_share_and_an_epoch_is_a_permutation_of_the_own_images():
    epochs, drawn = [], []
    for batch in batches(4 * STEPS):
        is_extra, numbers = read(batch)
        assert len(is_extra) == BATCH
        assert is_extra.sum() == EXTRA
        epochs.append(numbers[~is_extra])
        drawn.append(numbers[is_extra])
    for epoch in np.reshape(epochs, (4, STEPS * OWN)):
        assert len(set(epoch)) == STEPS * OWN
    assert set(np.ravel(epochs)) == set(range(COUNT))
    drawn = np.ravel(drawn)
    assert len(set(drawn)) < len(drawn)  # with replacement
    assert len({tuple(each) for each in np.reshape(drawn, (-1, EXTRA))}) == 4 * STEPS


def test_auxiliary_images_are_drawn_uniformly():
    numbers = np.concatenate([numbers[is_extra] for is_extra, numbers in map(read, batches(600))])
    np.testing.assert_allclose(np.histogram(numbers, bins=10, range=(0, OTHERS))[0], len(numbers) / 10, rtol=0.2)
    assert (numbers.min(), numbers.max()) == (0, OTHERS - 1)


def test_the_own_images_are_those_of_smaller_batches_without_auxiliary_ones():
    plain = batches(2 * STEPS, batch_size=OWN, extra=None)
    for mixed, alone in zip(batches(2 * STEPS), plain, strict=True):
        np.testing.assert_array_equal(mixed["index"][mixed["index"] >= 0], alone["index"])


@pytest.mark.parametrize("first_step", [2, STEPS + 3])
def test_batches_depend_on_the_seed_and_the_step_alone(first_step):
    whole = batches(first_step + 4)[first_step:]
    for resumed, batch in zip(batches(4, first_step=first_step), whole, strict=True):
        for name, value in batch.items():
            np.testing.assert_array_equal(resumed[name], value)
    other = batches(4, first_step=first_step, seed=2)
    assert any((one["image"] != two["image"]).any() for one, two in zip(other, whole, strict=True))


def test_the_parts_of_two_replicas_make_up_each_batch_and_both_have_auxiliary_images():
    whole, parts = batches(3), batches(6, share=Share(0, 2, 2))
    for step, batch in enumerate(whole):
        for name, value in batch.items():
            np.testing.assert_array_equal(np.concatenate([parts[2 * step][name], parts[2 * step + 1][name]]), value)
    assert {int((part["index"] < 0).sum()) for part in parts} <= {2, 3}


def test_more_own_images_than_there_are_is_refused():
    with pytest.raises(InputError, match="`batch_size` 30 with 5 auxiliary images leaves 25 for the data set's own"):
        training_batches(EXAMPLES, batch_size=30, seed=0, extra=Extra(EXTRAS, EXTRA))


DATASET = ImageDataset("mine", tuple("abcdefg"), EXAMPLES, EXAMPLES, EXAMPLES)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_file_is_read_as_it_was_written(tmp_path, save):
    save(tmp_path / "a.npz", image=EXTRAS.images, label=EXTRAS.labels.astype(np.int64), other=np.ones(3))
    found = load_extra(tmp_path / "a.npz", DATASET)
    assert found.digest() == EXTRAS.digest()


IMAGES, LABELS = EXTRAS.images[:4], EXTRAS.labels[:4]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image": IMAGES}, r"must hold the arrays `image` and `label`\. Received: image"),
        ({"image": IMAGES / 255, "label": LABELS}, r"`image` must be uint8 \[N, 2, 2, 3\], .* Received: float64"),
        ({"image": IMAGES[..., :1], "label": LABELS}, r"of `dataset` mine\. Received: uint8 \[4, 2, 2, 1\]"),
        ({"image": IMAGES[:0], "label": LABELS[:0]}, r"Received: uint8 \[0, 2, 2, 3\]"),
        ({"image": IMAGES, "label": LABELS[:3]}, "4 images but 3 labels"),
        ({"image": IMAGES, "label": LABELS + 6}, r"labels must be in \[0, 6\]"),
        ({"image": IMAGES, "label": np.array(list("abcd"))}, "labels must be integers"),
        ({"image": np.array([{}, 1], object), "label": LABELS}, r"cannot be read as an \.npz file: Object arrays"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=message) as caught:
        load_extra(tmp_path / "a.npz", DATASET)
    assert str(caught.value).startswith(f"`extra_data` {tmp_path}")
    assert "\n" not in str(caught.value)


def test_another_or_a_missing_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "a.npz").write_text("text")
    np.save(tmp_path / "b.npy", IMAGES)
    for name in ("a.npz", "b.npy", "c.npz"):
        with pytest.raises(InputError, match=r"^`extra_data` .* cannot be read as an \.npz file: .*$"):
            load_extra(tmp_path / name, DATASET)
