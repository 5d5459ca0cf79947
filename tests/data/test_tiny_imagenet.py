"""Tiny ImageNet, on a small archive made here and, where it is there, on a real subset."""

import contextlib
import functools
import hashlib
import http.server
import io
import os
import pathlib
import shutil
import threading
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_datasets.core.download.checksums import UrlInfo

from agkd_tf.data import load_dataset, tiny_imagenet
from agkd_tf.errors import InputError

ROOT = pathlib.Path(__file__).resolve().parents[2]
WNIDS = [f"n{number:08d}" for number in range(300, 100, -1)]  # not in alphabetical order, as in the official file


def jpeg(number, grayscale=False):
    image = np.full((64, 64, 1 if grayscale else 3), number, np.uint8)
    return tf.io.encode_jpeg(image, quality=100).numpy()


def write_archive(folder, *, annotations=True, label=None):
    """Writes an archive of the official layout: two training and one validation image a class."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "tiny-imagenet-200.zip", "w") as archive:
        archive.writestr("tiny-imagenet-200/wnids.txt", "\n".join(WNIDS) + "\n")
        lines = []
        for place, wnid in enumerate(WNIDS):
            for number in range(2):
                name = f"tiny-imagenet-200/train/{wnid}/images/{wnid}_{number}.JPEG"
                archive.writestr(name, jpeg(int(wnid[1:]) - 100, grayscale=number == 1))
            archive.writestr(f"tiny-imagenet-200/train/{wnid}/{wnid}_boxes.txt", "x\t0\t0\t63\t63\n")
            archive.writestr(f"tiny-imagenet-200/val/images/val_{place}.JPEG", jpeg(int(wnid[1:]) - 100))
            archive.writestr(f"tiny-imagenet-200/test/images/test_{place}.JPEG", jpeg(0))
            lines.append(f"val_{place}.JPEG\t{label or wnid}\t0\t0\t63\t63")
        if annotations:
            archive.writestr("tiny-imagenet-200/val/val_annotations.txt", "\n".join(lines) + "\n")
    return str(folder)


def test_labels_come_from_folders_and_annotations_and_grayscale_becomes_colour(tmp_path):
    manual = write_archive(tmp_path / "archives")
    data = str(tmp_path / "data")
    dataset = load_dataset("tiny_imagenet", data_dir=data, manual_dir=manual, validation_examples=200)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (200, 200, 200)
    assert dataset.image_shape == (64, 64, 3)
    assert dataset.class_names == tuple(sorted(WNIDS))
    assert dataset.augmentation == "crop_flip"
    for split in (dataset.train, dataset.validation, dataset.test):
        numbers = split.images[:, 32, 32, 1].astype(int)
        expected = np.array([int(dataset.class_names[label][1:]) - 100 for label in split.labels])
        assert np.abs(numbers - expected).max() <= 1
    # Prepared once, it needs the archive no more.
    again = load_dataset("tiny_imagenet", data_dir=data, validation_examples=200)
    np.testing.assert_array_equal(again.train.images, dataset.train.images)


@pytest.mark.parametrize(
    ("broken", "message"),
    [({"annotations": False}, "not the Tiny ImageNet archive"), ({"label": "n99999999"}, "no known class")],
)
def test_an_archive_of_other_content_is_refused(tmp_path, broken, message):
    manual = write_archive(tmp_path / "archives", **broken)
    with pytest.raises(InputError, match=message):
        load_dataset("tiny_imagenet", data_dir=str(tmp_path / "data"), manual_dir=manual)


def test_a_damaged_or_missing_archive_is_refused(tmp_path):
    manual = write_archive(tmp_path / "archives")
    with pytest.raises(InputError, match="is not prepared"):
        load_dataset("tiny_imagenet", data_dir=manual)
    with pytest.raises(InputError, match=r"`manual_dir` has no tiny-imagenet-200.zip"):
        load_dataset("tiny_imagenet", manual_dir=str(tmp_path))
    path = tmp_path / "archives" / "tiny-imagenet-200.zip"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="damaged"):
        load_dataset("tiny_imagenet", data_dir=str(tmp_path / "data"), manual_dir=manual)


def flipped(path, place):
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 0x10
    path.write_bytes(content)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    manual = write_archive(folder / "archives")
    load_dataset("tiny_imagenet", data_dir=str(folder / "data"), manual_dir=manual, validation_examples=200)
    return folder


def test_damage_to_an_image_within_the_archive_is_found(prepared, tmp_path):
    (tmp_path / "archives").mkdir()
    path = pathlib.Path(shutil.copy(prepared / "archives" / tiny_imagenet.ARCHIVE, tmp_path / "archives"))
    with zipfile.ZipFile(path) as archive:
        (image,) = (entry for entry in archive.infolist() if entry.filename.endswith("val_7.JPEG"))
    flipped(path, (image.header_offset + 30 + len(image.filename) + image.compress_size / 2) / path.stat().st_size)
    with pytest.raises(InputError, match=r"damaged: the checksum of '.*val_7.JPEG' is wrong"):
        load_dataset("tiny_imagenet", data_dir=str(tmp_path / "data"), manual_dir=str(path.parent))


@pytest.mark.parametrize("name", ["dataset_info.json", "tiny_imagenet-train.tfrecord-00000-of-00001"])
@pytest.mark.parametrize("harm", ["cut", "emptied", "flipped", "of no text", "missing", "of another version"])
def test_a_prepared_data_set_that_is_damaged_is_refused(prepared, tmp_path, name, harm):
    shutil.copytree(prepared / "data", tmp_path / "data")
    path = tmp_path / "data" / "tiny_imagenet" / "1.0.0" / name
    if harm == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif harm == "flipped":
        flipped(path, 0.5)
    elif harm == "missing":
        path.unlink()
    else:
        path.write_bytes({"emptied": b"", "of no text": b"\xff\xfe", "of another version": b"{}"}[harm])
    with pytest.raises(InputError, match=r"'train' split|dataset_info.json is damaged") as refused:
        load_dataset("tiny_imagenet", data_dir=str(tmp_path / "data"), validation_examples=200)
    assert len(str(refused.value).splitlines()) == 1
    assert "function_node" not in str(refused.value)


@pytest.fixture
def served():
    """Returns a function that gives the address under which a folder's files are fetched from this machine."""
    with contextlib.ExitStack() as stack:

        def serve(folder):
            handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
            server = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            return f"http://127.0.0.1:{server.server_port}"

        yield serve


@pytest.mark.parametrize("intact", [True, False])
def test_a_downloaded_archive_is_checked_against_its_checksum(tmp_path, monkeypatch, served, intact):
    folder = write_archive(tmp_path / "archives")
    archive = (tmp_path / "archives" / tiny_imagenet.ARCHIVE).read_bytes()
    url, digest = f"{served(folder)}/{tiny_imagenet.ARCHIVE}", hashlib.sha256(archive).hexdigest()
    known = UrlInfo(size=len(archive), checksum=digest if intact else tiny_imagenet.SHA256, filename="archive.zip")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(tiny_imagenet, "URL", url)
    monkeypatch.setattr(tiny_imagenet.TinyImagenet, "url_infos", {url: known})
    load = functools.partial(load_dataset, "tiny_imagenet", data_dir=str(tmp_path / "data"), download=True)
    if intact:
        assert len(load(validation_examples=200).train) == 200
        return
    with pytest.raises(InputError, match=r"cannot be prepared: .*checksum"):
        load()
    with pytest.raises(InputError, match="is not prepared"):
        load(download=False)


def test_an_entry_that_climbs_out_of_the_archive_is_written_nowhere(tmp_path):
    manual = write_archive(tmp_path / "archives")
    with zipfile.ZipFile(tmp_path / "archives" / "tiny-imagenet-200.zip", "a") as archive:
        for name in (
            "../climbed.JPEG",
            "tiny-imagenet-200/train/../../../climbed.JPEG",
            str(tmp_path / "climbed.JPEG"),
        ):
            archive.writestr(name, b"x")
    with contextlib.suppress(InputError):
        load_dataset("tiny_imagenet", data_dir=str(tmp_path / "data"), manual_dir=manual)
    assert not list(tmp_path.rglob("climbed*"))


@pytest.mark.slow
def test_the_real_archive_is_read(tmp_path):
    folder = os.environ.get("AGKD_TF_DATA") or ROOT.parent / "shared" / "data"
    if not (pathlib.Path(folder) / "tiny-imagenet-200.zip").is_file():
        pytest.skip("no tiny-imagenet-200.zip: set AGKD_TF_DATA to a folder with it")
    dataset = load_dataset("tiny_imagenet", data_dir=str(tmp_path), manual_dir=str(folder), validation_examples=200)
    assert dataset.num_classes == 200
    assert dataset.class_names[0] == "n01443537"
    labels = np.concatenate([dataset.train.labels, dataset.validation.labels])
    assert len(np.unique(np.bincount(labels, minlength=200))) == 1  # as many of each class
    assert dataset.train.images.std(axis=(1, 2, 3)).min() > 1
    with zipfile.ZipFile(pathlib.Path(folder) / "tiny-imagenet-200.zip") as archive:
        data = io.BytesIO(archive.read("tiny-imagenet-200/val/images/val_0.JPEG")).getvalue()
    first = tf.io.decode_jpeg(data, channels=3).numpy()
    (place,) = np.flatnonzero((dataset.test.images == first).all(axis=(1, 2, 3)))
    assert dataset.class_names[dataset.test.labels[place]] == "n03444034"
