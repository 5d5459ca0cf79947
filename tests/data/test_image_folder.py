import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.data import load_dataset
from agkd_tf.data.image_dataset import ImagesOnDisk
from agkd_tf.errors import InputError


def write(folder, split, label, number, shape=(20, 20, 3), suffix="png"):
    path = folder / split / label / f"{number}.{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full(shape, number, np.uint8)
    path.write_bytes(tf.io.encode_png(image).numpy())
    return path


@pytest.fixture
def folder(tmp_path):
    """Twelve training and six test images of three classes, under a path with a space and an umlaut."""
    root = tmp_path / "meine Bilder für Ä"
    for number in range(18):
        write(root, "train" if number < 12 else "test", ("cat", "ant", "bee")[number % 3], number)
    return root


def test_images_get_the_class_of_their_folder_in_alphabetical_order(folder):
    dataset = load_dataset(f"image_folder:{folder}", validation_examples=3)
    assert dataset.class_names == ("ant", "bee", "cat")
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (9, 3, 6)
    assert dataset.image_shape == (20, 20, 3)
    for split in (dataset.train, dataset.validation, dataset.test):
        numbers = split.images[:, 0, 0, 0]
        expected = [dataset.class_names.index(("cat", "ant", "bee")[number % 3]) for number in numbers]
        np.testing.assert_array_equal(split.labels, expected)


def test_grayscale_and_transparent_images_become_colour(folder):
    write(folder, "train", "ant", 30, shape=(20, 20, 1))
    write(folder, "train", "bee", 31, shape=(20, 20, 4))
    dataset = load_dataset(f"image_folder:{folder}", validation_examples=1)
    images = np.concatenate([dataset.train.images, dataset.validation.images])
    assert images.shape == (14, 20, 20, 3)
    assert {30, 31} <= set(images[:, 5, 5, 2])


def test_many_sizes_are_refused_or_scaled(folder):
    write(folder, "train", "ant", 40, shape=(30, 10, 3))
    with pytest.raises(InputError, match=r"different sizes.*`image_size`"):
        load_dataset(f"image_folder:{folder}")
    dataset = load_dataset(f"image_folder:{folder}", image_size=16)
    assert dataset.image_shape == (16, 16, 3)


def test_an_image_is_cropped_to_its_middle_square_and_scaled_by_averages(folder):
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, [4, 7, 8, 11]] = 200  # the middle square's first and last columns, and the two in its middle
    for split in ("train", "test"):
        for path in (folder / split).rglob("*.png"):
            path.write_bytes(tf.io.encode_png(wide).numpy())
    image = load_dataset(f"image_folder:{folder}", image_size=2).test.images[0]
    # Two points of the image without averages are black; the averages weigh a half's middle columns more.
    assert image.dtype == np.uint8
    np.testing.assert_allclose(image, np.full((2, 2, 3), 93), atol=1)


@pytest.mark.parametrize("size", [0, -3])
def test_a_size_that_is_not_positive_is_refused(size, folder):
    with pytest.raises(InputError, match="`image_size` must be"):
        load_dataset(f"image_folder:{folder}", image_size=size)


def test_without_a_test_folder_validation_is_the_test_split(folder):
    (folder / "test").rename(folder / "validation")
    assert len(load_dataset(f"image_folder:{folder}").test) == 6


def test_a_corrupt_image_is_refused(folder):
    path = write(folder, "train", "ant", 50)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match=r"'train' split.* cannot be decoded") as refused:
        load_dataset(f"image_folder:{folder}")
    assert "Iterator::" not in str(refused.value)


@pytest.mark.parametrize("content", ["nothing", "text"])
def test_a_folder_without_any_image_is_refused(tmp_path, content):
    for name in ("cat", "dog"):
        for split in ("train", "test"):
            (tmp_path / split / name).mkdir(parents=True)
            if content == "text":
                (tmp_path / split / name / "1.txt").write_text("no image")
    with pytest.raises(InputError, match="has no image in its 'train' split"):
        load_dataset(f"image_folder:{tmp_path}")


def test_a_wrong_layout_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="PATH/train/CLASS"):
        load_dataset(f"image_folder:{tmp_path / 'nowhere'}")
    (folder / "train" / "dog").mkdir()
    with pytest.raises(InputError, match="no training image of class 'dog'"):
        load_dataset(f"image_folder:{folder}")
    one = tmp_path / "one"
    for split in ("train", "test"):
        write(one, split, "cat", 1)
    with pytest.raises(InputError, match="at least two classes"):
        load_dataset(f"image_folder:{one}")
    write(tmp_path / "half", "train", "cat", 1)
    with pytest.raises(InputError, match="split"):
        load_dataset(f"image_folder:{tmp_path / 'half'}")


def test_decoded_images_may_stay_on_a_disk_and_leave_nothing_there(folder, tmp_path):
    room = tmp_path / "room"
    room.mkdir()
    on_disk, in_memory = (load_dataset(f"image_folder:{folder}", images_dir=place) for place in (str(room), None))
    for split in ("train", "validation", "test"):
        ours, its = on_disk.split(split), in_memory.split(split)
        assert isinstance(ours.images, ImagesOnDisk)
        np.testing.assert_array_equal(ours.images[:], its.images)
        np.testing.assert_array_equal(ours.labels, its.labels)
    assert not list(room.iterdir())
    with pytest.raises(InputError, match=r"`images_dir` .*nowhere cannot hold 0\.00 GiB of images: No such file"):
        load_dataset(f"image_folder:{folder}", images_dir=str(tmp_path / "nowhere"))
