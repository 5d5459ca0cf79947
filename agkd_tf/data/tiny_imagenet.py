"""Tiny ImageNet: a tensorflow-datasets builder for the official archive.

It has 200 classes with 500 training and 50 validation images of 64x64 each. The official test images have no
labels; the validation split, which published tables use, is the test split here.
"""

import pathlib
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from agkd_tf.data.image_dataset import Official
from agkd_tf.data.tfds import check_data_dir, damage_told, prepare_and_read
from agkd_tf.errors import InputError
from agkd_tf.files import check_archive

ARCHIVE = "tiny-imagenet-200.zip"
URL = f"http://cs231n.stanford.edu/{ARCHIVE}"
SHA256 = "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821"
BYTES = 248_100_043
ROOT = "tiny-imagenet-200/"


def load(
    *,
    data_dir: str | None = None,
    manual_dir: str | None = None,
    download: bool = False,
    image_size: int | None = None,
    images_dir: str | None = None,
) -> Official:
    """Returns (train `Examples`, test `Examples`, class names, augmentation).

    Args:
        data_dir, download, image_size, images_dir: as in `agkd_tf.data.tfds.load`.
        manual_dir: folder that contains `tiny-imagenet-200.zip`, from which the data set is prepared.

    Raises:
        InputError: as in `agkd_tf.data.tfds.load`, or if `manual_dir` does not contain the archive.
    """
    archive = None
    if manual_dir is not None:
        archive = pathlib.Path(manual_dir) / ARCHIVE
        if not archive.is_file():
            raise InputError(f"`manual_dir` has no {ARCHIVE}. Received: {manual_dir!r}")
    check_data_dir(data_dir, download=download or archive is not None)
    with damage_told("tiny_imagenet"):
        builder = TinyImagenet(archive=archive, data_dir=data_dir)
    # If the archive is there, preparing downloads nothing.
    return prepare_and_read(
        builder, download=download or archive is not None, image_size=image_size, images_dir=images_dir
    )


with tfds.core.registered.skip_registration():

    class TinyImagenet(tfds.core.GeneratorBasedBuilder):
        """Builds the data set directly from the archive, without extracting it to disk.

        Args:
            archive: path of the archive; None to download it.
            **kwargs: as in `tfds.core.GeneratorBasedBuilder`.
        """

        name = "tiny_imagenet"
        VERSION = tfds.core.Version("1.0.0")
        url_infos: ClassVar = {URL: tfds.download.checksums.UrlInfo(size=BYTES, checksum=SHA256, filename=ARCHIVE)}

        def __init__(self, *, archive: pathlib.Path | None = None, **kwargs: Any) -> None:
            self._archive = archive
            super().__init__(**kwargs)

        def _info(self) -> tfds.core.DatasetInfo:
            features = {
                "image": tfds.features.Image(shape=(64, 64, 3), encoding_format="jpeg"),
                "label": tfds.features.ClassLabel(num_classes=200),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features), supervised_keys=("image", "label")
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
            path = self._archive or dl_manager.download(URL)
            try:
                check_archive(path)
                archive = zipfile.ZipFile(path)
                names = archive.read(f"{ROOT}wnids.txt").decode().split()
                annotations = archive.read(f"{ROOT}val/val_annotations.txt").decode().splitlines()
            except (ValueError, KeyError, OSError) as error:
                raise InputError(f"{path} is not the Tiny ImageNet archive, or is damaged: {error}") from error
            names = sorted(names)
            self.info.features["label"].names = names
            validation = dict(line.split("\t")[:2] for line in annotations)
            return {
                "train": self._generate_examples(archive, "train/", lambda file: file.split("/")[1], set(names)),
                "validation": self._generate_examples(
                    archive, "val/images/", lambda file: validation.get(file.rpartition("/")[2]), set(names)
                ),
            }

        def _generate_examples(
            self, archive: zipfile.ZipFile, folder: str, label_of: Callable[[str], str | None], names: set[str]
        ) -> Iterator[tuple[str, dict[str, Any]]]:
            for entry in archive.namelist():
                file = entry.removeprefix(ROOT)
                if file.startswith(folder) and file.endswith(".JPEG"):
                    label = label_of(file)
                    if label not in names:
                        raise InputError(f"{archive.filename}: {entry} has no known class. Received: {label!r}")
                    # The bytes are kept unchanged; grayscale files become RGB when they are decoded.
                    yield file, {"image": archive.open(entry), "label": label}
