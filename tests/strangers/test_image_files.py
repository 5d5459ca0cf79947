"""Folders of images as people have them: what is read with which pixels, what is said, and what is refused."""

import io
import os
import re
import struct
import warnings
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from agkd_tf.data import image_folder, load_dataset
from agkd_tf.errors import InputError, Note

RANDOM = np.random.default_rng(0)
# Smooth, as lossy formats need it: 12 rows, 8 columns.
PIXELS = np.stack(np.broadcast_arrays(*np.ogrid[60:120:12j, 80:140:8j], 120), -1).astype(np.uint8)
DEEP = RANDOM.integers(0, 65536, (12, 8), dtype=np.uint16)
ALPHA = np.dstack([PIXELS, np.linspace(0, 255, 96).reshape(12, 8, 1)]).astype(np.uint8)
TURNED = {  # EXIF's orientation -> what a viewer shows of stored pixels
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90,
}


def encoded(pixels, kind, mode=None, orientation=None, **settings):
    """Returns the bytes of an image file, by Pillow."""
    image = Image.fromarray(pixels)
    if orientation:
        settings["exif"] = Image.Exif()
        settings["exif"][0x0112] = orientation
    file = io.BytesIO()
    (image.convert(mode) if mode else image).save(file, kind, **settings)
    return file.getvalue()


def raw_tiff(pixels):
    """Returns an uncompressed TIFF file of integers or floats, which Pillow would not write of every type."""
    height, width, *channels = pixels.shape
    channels, size = (channels or [1])[0], pixels.itemsize * 8
    sizes = 10 * 12 + 14  # where the sizes of an RGB image's values are
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, size if channels == 1 else sizes)]
    tags += [(259, 3, 1, 1), (262, 3, 1, 1 if channels == 1 else 2), (273, 4, 1, sizes + 6), (277, 3, 1, channels)]
    tags += [(278, 3, 1, height), (279, 4, 1, pixels.nbytes), (339, 3, 1, {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind])]
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0\10\0\0\0\12\0" + directory + struct.pack("<I3H", 0, size, size, size) + pixels.tobytes()


def gray(pixels):
    return np.repeat(pixels[..., None], 3, 2)


ANIMATION = [Image.fromarray(PIXELS).quantize(64), Image.fromarray(255 - PIXELS).quantize(64)]


def animated(kind, **settings):
    file = io.BytesIO()
    ANIMATION[0].save(file, kind, save_all=True, append_images=ANIMATION[1:], **settings)
    return file.getvalue()


PALETTE, DEEP_RGB = Image.fromarray(PIXELS).quantize(16), RANDOM.integers(0, 65536, (12, 8, 3), dtype=np.uint16)


def of_palette(kind, **settings):
    file = io.BytesIO()
    PALETTE.save(file, kind, **settings)
    return file.getvalue()


# Name of the kind -> (name of the file, its bytes, pixels that are to be read, by how much they may be off).
FILES = {
    "PNG": ("x.png", encoded(PIXELS, "PNG"), PIXELS, 0),
    "JPEG": ("x.jpg", encoded(PIXELS, "JPEG"), tf.io.decode_jpeg(encoded(PIXELS, "JPEG")).numpy(), 0),
    "upper-case ending": ("X.JPEG", encoded(PIXELS, "JPEG", quality=98), PIXELS, 12),
    "WebP": ("x.webp", encoded(PIXELS, "WEBP", lossless=True), PIXELS, 0),
    "TIFF": ("x.TIF", encoded(PIXELS, "TIFF", compression="tiff_lzw"), PIXELS, 0),
    "AVIF": ("x.avif", encoded(PIXELS, "AVIF", quality=100, subsampling="4:4:4"), PIXELS, 6),
    "BMP": ("x.bmp", encoded(PIXELS, "BMP"), PIXELS, 0),
    "BMP with a palette": (
        "x.bmp",
        encoded(PIXELS, "BMP", "P"),
        np.asarray(Image.fromarray(PIXELS).convert("P").convert("RGB")),
        0,
    ),
    "GIF": ("x.gif", encoded(PIXELS, "GIF"), tf.io.decode_gif(encoded(PIXELS, "GIF"))[0].numpy(), 0),
    "JPEG 2000": ("x.jp2", encoded(PIXELS, "JPEG2000"), PIXELS, 0),
    "PPM": ("x.ppm", encoded(PIXELS, "PPM"), PIXELS, 0),
    "animated GIF": ("x.gif", animated("GIF"), np.asarray(ANIMATION[0].convert("RGB")), 0),
    "animated WebP": ("x.webp", animated("WEBP", lossless=True), np.asarray(ANIMATION[0].convert("RGB")), 0),
    "animated PNG": ("x.png", animated("PNG"), np.asarray(ANIMATION[0].convert("RGB")), 0),
    "WebP by the name of a PNG": ("x.png", encoded(PIXELS, "WEBP", lossless=True), PIXELS, 0),
    "no ending": ("IMG_0001", encoded(PIXELS, "PNG"), PIXELS, 0),
    "WebP, no ending": ("IMG_0001", encoded(PIXELS, "WEBP", lossless=True), PIXELS, 0),
    "a name of Latin-1": (b"caf\xe9 1.png", encoded(PIXELS, "PNG"), PIXELS, 0),
    "gray PNG": ("x.png", encoded(PIXELS[..., 0], "PNG"), gray(PIXELS[..., 0]), 0),
    "gray WebP": ("x.webp", encoded(PIXELS[..., 0], "WEBP", lossless=True), gray(PIXELS[..., 0]), 0),
    "black and white": (
        "x.tif",
        encoded(PIXELS[..., 0], "TIFF", "1"),
        gray(np.asarray(Image.fromarray(PIXELS[..., 0]).convert("1")).astype(np.uint8) * 255),
        0,
    ),
    "palette": ("x.png", of_palette("PNG"), np.asarray(PALETTE.convert("RGB")), 0),
    "palette with a transparent color": (
        "x.tif",
        of_palette("PNG", transparency=3),
        np.asarray(PALETTE.convert("RGB")),
        0,
    ),
    "palette in a GIF, one transparent": (
        "x.gif",
        of_palette("GIF", transparency=3),
        np.asarray(PALETTE.convert("RGB")),
        0,
    ),
    "alpha in a PNG": ("x.png", encoded(ALPHA, "PNG"), PIXELS, 0),
    "alpha in a WebP": ("x.webp", encoded(ALPHA, "WEBP", lossless=True, exact=True), PIXELS, 0),
    "alpha in a TIFF": ("x.tif", encoded(ALPHA, "TIFF"), PIXELS, 0),
    "CMYK JPEG": ("x.jpg", encoded(PIXELS, "JPEG", "CMYK", quality=98), PIXELS, 12),
    "16-bit PNG": ("x.png", encoded(DEEP, "PNG"), gray((DEEP >> 8).astype(np.uint8)), 0),
    "16-bit RGB PNG": ("x.png", tf.io.encode_png(DEEP_RGB).numpy(), (DEEP_RGB >> 8).astype(np.uint8), 0),
    "16-bit TIFF": ("x.tif", encoded(DEEP, "TIFF"), gray((DEEP >> 8).astype(np.uint8)), 0),
    "16-bit RGB TIFF": ("x.tif", raw_tiff(DEEP_RGB), (DEEP_RGB >> 8).astype(np.uint8), 0),
    "16-bit values in a 32-bit TIFF": ("x.tif", raw_tiff(DEEP.astype(np.int32)), gray((DEEP >> 8).astype(np.uint8)), 0),
}
for number, turned in TURNED.items():
    FILES[f"PNG turned by EXIF {number}"] = ("x.png", encoded(PIXELS, "PNG", orientation=number), turned(PIXELS), 0)
for kind, lossless in {
    "WEBP": {"lossless": True},
    "TIFF": {},
    "JPEG": {"quality": 98},
    "AVIF": {"quality": 100},
}.items():
    content = encoded(PIXELS, kind, orientation=6, **lossless)
    FILES[f"{kind} turned by EXIF"] = (
        f"x.{kind.lower()}",
        content,
        TURNED[6](PIXELS),
        0 if kind in ("WEBP", "TIFF") else 12,
    )


def write(root, name, content=None):
    path = os.path.join(os.fsencode(root), name if isinstance(name, bytes) else name.encode())
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(FILES["PNG"][1] if content is None else content)


@pytest.fixture
def root(tmp_path):
    """A folder of two training and one test image of each of two classes; its name has a space and an umlaut."""
    root = tmp_path / "meine Bilder für Ä"
    for name in ("ant", "bee"):
        for file in (f"train/{name}/1.png", f"train/{name}/2.png", f"test/{name}/1.png"):
            write(root, file)
    return root


def load(root, **settings):
    """Returns (the data set, the notes in one text); no other warning may come."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = load_dataset(f"image_folder:{root}", **settings)
    assert {each.category for each in caught} <= {Note}, caught
    return dataset, "\n".join(str(each.message) for each in caught)


@pytest.mark.parametrize("kind", FILES)
def test_a_file_of_each_kind_has_the_pixels_of_its_decoder(kind, tmp_path):
    name, content, expected, off = FILES[kind]
    for label in ("ant", "bee"):
        write(tmp_path, os.path.join(f"test/{label}".encode(), os.fsencode(name)), content)
    dataset, notes = load(tmp_path, training=False)
    assert (len(dataset.test), dataset.test.images.dtype, notes) == (2, np.uint8, "")
    np.testing.assert_allclose(dataset.test.images[0].astype(int), expected.astype(int), atol=off)


class Folder(NamedTuple):
    """What is done to `root`, and what comes of it.

    Attributes:
        change: callable (root), writes files.
        counts: images of train, validation and test.
        notes: parts of what is said; nothing may be said without.
        settings: of `load_dataset`.
    """

    change: object
    counts: tuple = (3, 1, 2)
    notes: tuple = ()
    settings: dict | None = None


TEXT, DAMAGED = b"no image", FILES["WebP"][1][:60]
DARK = encoded(DEEP % 4096, "PNG")


def files(*names, content=None):
    """Returns a change that writes these files."""

    def change(root):
        for name in names:
            write(root, name, content)

    return change


def both(*changes):
    return lambda root: [change(root) for change in changes]


def empty(*folders):
    return lambda root: [os.makedirs(root / folder) for folder in folders]


def link(name, target):
    return lambda root: os.symlink(target, root / name)


def linked_away(root):
    """A class folder and an image that lie elsewhere."""
    (root / "train/ant").rename(root.parent / "elsewhere")
    os.symlink(root.parent / "elsewhere", root / "train/ant")
    os.symlink(root.parent / "elsewhere/1.png", root / "test/ant/link.png")


FOLDERS = {
    "as it is": Folder(lambda root: None),
    "hidden files and folders": Folder(
        both(
            files("train/.DS_Store", "train/ant/.DS_Store", "train/ant/Thumbs.db", "test/desktop.ini", content=TEXT),
            files("train/.ipynb_checkpoints/1.png", "train/ant/.ipynb_checkpoints/1.png", "train/ant/._1.png"),
            files("__MACOSX/train/ant/1.png", "train/__MACOSX/ant/1.png", ".git/x.png"),
        )
    ),
    "what is no image": Folder(
        files("train/ant/notes.txt", "train/labels.csv", "test/bee/a.heic", "test/bee/b.svg", content=TEXT),
        notes=("left out: 4 files (test/bee/a.heic, test/bee/b.svg, train/ant/notes.txt, 1 more), since only",),
    ),
    "an image beside the classes": Folder(
        files("train/1.png", "2.png"),
        notes=("left out: 1 file (train/1.png)", "left out: 1 entry (2.png) beside train and test"),
    ),
    "another folder": Folder(files("raw/cat/1.png"), notes=("left out: 1 entry (raw) beside train and test",)),
    "folders below": Folder(
        files("train/ant/red/1.png", "train/ant/red/small/2.png"),
        counts=(5, 1, 2),
        notes=("images in 1 subfolder (train/ant/red) count as images of the class folder above",),
    ),
    "links": Folder(linked_away, counts=(3, 1, 3)),
    "a file that is a pipe": Folder(lambda root: os.mkfifo(root / "test/ant/pipe.png"), notes=("(test/ant/pipe.png)",)),
    "an empty class": Folder(
        lambda root: (root / "test/ant/1.png").unlink(),
        counts=(3, 1, 1),
        notes=("no image in the class folder test/ant",),
    ),
    "a class whose name is Latin-1": Folder(
        files(b"train/caf\xe9/1.png"), counts=(4, 1, 2), notes=("not UTF-8 are written as caf\\xe9",)
    ),
    "a user's validation": Folder(files("validation/ant/1.png", "validation/bee/1.png"), counts=(4, 2, 2)),
    "a user's val": Folder(files("val/ant/1.png"), counts=(4, 1, 2)),
    "some of a user's validation": Folder(
        files("val/ant/1.png", "val/bee/1.png"),
        counts=(3, 1, 2),
        settings={"train_examples": 3, "validation_examples": 1},
    ),
    "val for test": Folder(lambda root: (root / "test").rename(root / "val")),
    "test alone": Folder(
        lambda root: (root / "train").rename(root / ".train"), counts=(0, 0, 2), settings={"training": False}
    ),
    "class folders alone": Folder(
        lambda root: (
            [(root / "test" / name).rename(root / name) for name in ("ant", "bee")]
            and [(root / name).rename(root / f".{name}") for name in ("train", "test")]
        ),
        counts=(0, 0, 2),
        settings={"training": False},
    ),
    "damaged files that are skipped": Folder(
        both(files("train/ant/3.webp", content=DAMAGED), files("test/bee/2.png", "test/bee/3.png", content=TEXT)),
        notes=(
            "3 damaged images were left out: train/ant/3.webp: ",
            "test/bee/2.png: it is not in a supported image format",
        ),
        settings={"skip_damaged": True},
    ),
    "a link to nothing that is skipped": Folder(
        link("train/ant/x.png", "nowhere"),
        notes=("1 damaged images were left out: train/ant/x.png: a link to a file that does not exist",),
        settings={"skip_damaged": True},
    ),
    "16 bits of which 12 are used": Folder(
        files("test/ant/2.png", content=DARK),
        counts=(3, 1, 3),
        notes=("only the upper 8 bits are kept of 1 16-bit image (test/ant/2.png), but no value reaches 4096",),
    ),
    "16 bits": Folder(files("test/ant/2.png", content=FILES["16-bit PNG"][1]), counts=(3, 1, 3)),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_what_is_left_out_or_guessed_is_said_and_nothing_else(kind, root):
    change, counts, expected, settings = FOLDERS[kind]
    change(root)
    dataset, notes = load(root, **settings or {})
    assert tuple(len(dataset.split(name)) for name in ("train", "validation", "test")) == counts
    for part in expected:
        assert part in notes
    assert bool(notes) == bool(expected)
    assert dataset.class_names[:2] == ("ant", "bee")
    assert dataset.image_shape == (12, 8, 3)


def not_there(root):
    (root / "train").rename(root / "Training")


REFUSED = {
    "a text by the name of an image": (
        files("train/ant/3.png", content=TEXT),
        "train/ant/3.png of the 'train' split cannot be decoded: it is not in a supported image format",
    ),
    **{
        f"a truncated {name.rpartition('.')[2]}": (
            files(f"test/ant/{name}", content=content[: len(content) * 2 // 3]),
            f"test/ant/{name} of the 'test' split cannot be decoded: ",
        )
        for name, content, *_ in (FILES[kind] for kind in ("PNG", "JPEG", "WebP", "TIFF", "AVIF", "BMP", "GIF"))
    },
    "an empty file": (files("test/ant/3.jpg", content=b""), "test/ant/3.jpg of the 'test' split cannot be decoded"),
    "floats": (files("test/ant/3.tif", content=raw_tiff(DEEP / np.float32(65535))), "are floating-point numbers"),
    "24 bits a value": (files("test/ant/3.tif", content=raw_tiff(DEEP.astype(np.int32) * 256)), "not 0 to 65535"),
    "signed values": (files("test/ant/3.tif", content=raw_tiff(DEEP.view(np.int16))), "not 0 to 65535"),
    "a link to nothing": (link("train/ant/x.png", "nowhere"), "a link to a file that does not exist"),
    "a link in a circle": (link("train/ant/x", ".."), "train/ant/x/ant is a link to a folder that contains it"),
    "many sizes": (
        files("test/ant/3.png", content=encoded(PIXELS[:4], "PNG")),
        "different sizes, such as ",
    ),
    "a class that is only in test": (files("test/cat/1.png"), "no training image of class 'cat'"),
    "an empty class": (empty("train/cat"), "no training image of class 'cat'"),
    "two validations": (
        files("val/ant/1.png", "validation/ant/1.png"),
        "has both validation and val: keep one of them",
    ),
    "an empty validation": (empty("val/ant"), "has no image in its 'val' split"),
    "no train": (not_there, "needs images in PATH/train/CLASS and PATH/test/CLASS. Received: "),
    "no test": (lambda root: (root / "test").rename(root / "Test"), "has no 'test' split. It has: Test, train"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_is_refused_by_its_path(kind, root):
    change, line = REFUSED[kind]
    change(root)
    with pytest.raises(InputError, match=re.escape(line)) as refused:
        load(root)
    assert "\n" not in str(refused.value)


def test_without_training_images_folders_must_still_have_the_right_names(root):
    not_there(root)
    (root / "test").rename(root / "testing")
    with pytest.raises(InputError, match=r"must be called train, test and validation .*It has: Training, testing"):
        load(root, training=False)


def test_a_class_of_which_all_is_damaged_is_refused(root):
    files("train/ant/1.png", "train/ant/2.png", content=TEXT)(root)
    with pytest.raises(InputError, match="no training image of class 'ant'"):
        load(root, skip_damaged=True)


def test_damaged_files_are_an_image_folders_matter():
    with pytest.raises(InputError, match=r"`skip_damaged` is for image_folder:PATH. Received: `dataset` digits"):
        load_dataset("digits", skip_damaged=True)


@pytest.mark.parametrize("image_size", [None, 5])
@pytest.mark.parametrize("images_dir", [False, True])
def test_ordinary_files_are_read_as_tensorflow_datasets_reads_them(root, tmp_path, monkeypatch, image_size, images_dir):
    monkeypatch.setattr(image_folder, "LARGE", 200)  # values: some images are scaled alone, some together
    sizes = [(12, 8)] if image_size is None else [(12, 8), (7, 9), (5, 5)]
    for number in range(40):  # more than a thread reads at once
        pixels = RANDOM.integers(0, 256, (*sizes[number % len(sizes)], (1, 3, 4)[number % 3]), dtype=np.uint8).squeeze()
        split, label = ("test", "train", "train")[number % 3], ("ant", "bee")[number % 2]
        kind = "PNG" if number % 4 or pixels.shape[-1] == 4 else "JPEG"
        write(root, f"{split}/{label}/{number}.{kind.lower()}", encoded(pixels, kind))
    (tmp_path / "room").mkdir()
    room = str(tmp_path / "room") if images_dir else None
    dataset, notes = load(root, image_size=image_size, images_dir=room, validation_examples=1)
    builder = tfds.ImageFolder(str(root))
    for split in ("train", "test"):
        expected = list(builder.as_dataset(split=split))
        images = [example["image"] for example in expected]
        if image_size:
            resize = keras.layers.Resizing(5, 5, crop_to_aspect_ratio=True, antialias=True, dtype="float32")
            images = [tf.saturate_cast(tf.round(resize(image)), tf.uint8) for image in images]
        labels = np.array([example["label"] for example in expected])
        ours = dataset.split(split)
        if split == "train":  # of which one is held out
            held = dataset.validation.images[0]
            (place,) = [place for place, image in enumerate(images) if np.array_equal(image, held)][-1:]
            del images[place]
            labels = np.delete(labels, place)
        np.testing.assert_array_equal(ours.images[:], np.stack(images))
        np.testing.assert_array_equal(ours.labels, labels)
    assert not notes
    assert not list((tmp_path / "room").iterdir())
