"""Reads a user's own images: one folder per class."""

import collections
import concurrent.futures
import dataclasses
import itertools
import os
import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from agkd_tf.data.image_dataset import Examples, ImagesOnDisk
from agkd_tf.data.image_files import decode, is_image
from agkd_tf.data.tfds import resizing, room
from agkd_tf.errors import InputError, Note

LAYOUT = "PATH/train/CLASS and PATH/test/CLASS"
VALIDATION = ("validation", "val")
LIKE_SPLITS = {"dev", "eval", "evaluation", "test", "testing", "train", "training", "val", "valid", "validation"}
# Files and folders that file managers, archivers and operating systems create; dot files are skipped too.
LEAVINGS = {"__macosx", "@eadir", "desktop.ini", "ehthumbs.db", "thumbs.db"}
NAMED = 3  # files that a note lists by name
TASK = 16  # images that a thread reads at once
LARGE = 2**20  # an image of more values is scaled alone, so that few of this size are in memory at once
TWELVE_BITS = 4096 >> 8  # the upper byte of a 16-bit value stays below this if the values have 12 bits


def load(
    path: str,
    *,
    image_size: int | None = None,
    images_dir: str | None = None,
    skip_damaged: bool = False,
    training: bool = True,
    min_classes: int = 2,
) -> tuple[Examples, Examples | None, Examples, tuple[str, ...]]:
    """Returns (train, validation and test `Examples`, class names) of a folder of images.

    The layout is PATH/train/CLASS/FILE and PATH/test/CLASS/FILE. Files may have any format that `image_files.decode`
    reads, and may lie in subfolders of CLASS. PATH/validation or PATH/val is the validation split; if there is no
    `test` folder, it is the test split. Classes are numbered in the alphabetical order of their names. Images are RGB.
    Names that begin with a dot and files that systems create (Thumbs.db, __MACOSX) are skipped.

    Without `training`, PATH/test/CLASS/FILE alone is enough; so is PATH/CLASS/FILE, which is then the test split.

    The train split is empty if there are no training images; validation is None if the folder has no such split.

    Args:
        path: the folder.
        image_size: height and width that images are cropped and scaled to; None if all images have the same size.
        images_dir: as in `agkd_tf.data.tfds.load`.
        skip_damaged: whether to leave out images that cannot be decoded, with a note, instead of raising an error.
        training: whether each class needs a training image.
        min_classes: smallest allowed number of classes.

    Warns:
        Note: says what was left out, which classes have no image in a split, and what was guessed.

    Raises:
        InputError: if the folder does not have this layout or has too few classes, a class has no training image, or
            images cannot be decoded or differ in size.
    """
    path = os.path.expanduser(path)
    if not os.path.isdir(path):
        raise InputError(f"`dataset` image_folder needs a folder with images in {LAYOUT}. Received: {path!r}")
    try:
        splits = _splits(path, training=training)
        names = sorted({name for split in splits.values() for name in split.files})
        _check(path, splits, names, training=training, min_classes=min_classes)
        _tell(path, splits, names)
        reader = _Reader(path, names, image_size, images_dir, skip_damaged)
        examples = {role: reader.read(split) for role, split in splits.items()}
    except OSError as error:
        raise InputError(f"`dataset` image_folder: {_shown(error.filename or path)}: {error.strerror}") from error
    reader.tell()
    if training and len(splits["train"].images()):
        _check_training_images(examples["train"].labels, names)  # again, since damaged images may be left out
    none = examples["test"].take(slice(0, 0))
    return examples.get("train", none), examples.get("validation"), examples["test"], tuple(names)


@dataclasses.dataclass
class _Split:
    """What was found in one split's folder.

    Attributes:
        name: name of the folder.
        files: class name -> paths of its images, in order.
        left_out: paths of files that are not images.
        below: paths of subfolders of class folders that contain images.
    """

    name: str
    files: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    left_out: list[str] = dataclasses.field(default_factory=list)
    below: list[str] = dataclasses.field(default_factory=list)

    def images(self) -> list[tuple[str, str]]:
        """Returns (path, class name) of all images, in a random order that is always the same."""
        # The order of tensorflow-datasets' ImageFolder, so that the first N images stay the same.
        images = [(path, name) for name in sorted(self.files) for path in self.files[name]]
        random.Random(self.name).shuffle(images)
        return images


def _splits(path: str, *, training: bool) -> dict[str, _Split]:
    """Returns role (train, validation, test) -> `_Split`."""
    entries = _entries(path)
    found = {os.path.basename(entry): entry for entry in entries if os.path.isdir(entry)}
    own = [name for name in VALIDATION if name in found]
    if len(own) > 1:
        raise InputError(f"`dataset` image_folder: {path!r} has both {' and '.join(own)}: keep one of them")
    if "train" not in found:
        if training:
            raise InputError(
                f"`dataset` image_folder needs images in {LAYOUT}. Received: {path!r}, which has "
                f"{_listed(found) or 'no folder'}; without training images it can only be used for evaluation on its "
                "test split, without `knn=True`"
            )
        if "test" not in found and not own:
            wrong = [name for name in found if name.casefold() in LIKE_SPLITS]
            if wrong:
                raise InputError(
                    f"`dataset` image_folder: the folders of {path!r} must be called train, test and validation (or "
                    f"val). It has: {_listed(found)}"
                )
            return {"test": _scan("test", path)}
    roles = {"train": "train"} if "train" in found else {}
    if "test" in found:
        roles |= {"validation": own[0]} if own else {}
        roles["test"] = "test"
    elif own:
        roles["test"] = own[0]
    else:
        raise InputError(f"`dataset` image_folder {path!r} has no 'test' split. It has: {_listed(found)}")
    others = [os.path.join(path, name) for name in found if name not in roles.values()]
    others += [entry for entry in entries if not os.path.isdir(entry) and is_image(entry)]
    if others:
        _note(f"{path}: left out: {_counted(others, path, 'entry', 'entries')} beside {' and '.join(roles.values())}")
    return {role: _scan(name, found[name]) for role, name in roles.items()}


def _scan(name: str, folder: str) -> _Split:
    """Returns the `_Split` of a folder of class folders."""
    split = _Split(name)
    for entry in _entries(folder):
        if os.path.isdir(entry):
            found: list[str] = []
            _walk(entry, split, found, (entry,))
            # Sorted by the whole path; a name that is not UTF-8 has a place in this order too.
            split.files.setdefault(_shown(os.path.basename(entry)), []).extend(sorted(found))
        else:
            split.left_out.append(entry)
    return split


def _walk(folder: str, split: _Split, found: list[str], above: tuple[str, ...]) -> None:
    """Adds the images in a class folder and its subfolders to `found`."""
    for entry in _entries(folder):
        if os.path.isdir(entry):
            if any(os.path.samefile(entry, each) for each in above):
                raise InputError(f"`dataset` image_folder: {_shown(entry)} is a link to a folder that contains it")
            before = len(found)
            _walk(entry, split, found, (*above, entry))
            if len(found) > before and len(above) == 1:
                split.below.append(entry)
        elif is_image(entry):
            found.append(entry)
        else:
            split.left_out.append(entry)


def _entries(folder: str) -> list[str]:
    """Returns the paths of a folder's entries in alphabetical order, without hidden ones and system files."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    return [
        os.path.join(folder, name) for name in names if not name.startswith(".") and name.casefold() not in LEAVINGS
    ]


def _check(path: str, splits: Mapping[str, _Split], names: Sequence[str], *, training: bool, min_classes: int) -> None:
    """Checks what was found before any image is read."""
    for role in ("train", "test"):
        if role in splits and not splits[role].images():
            what = f"class folders: {_listed(names)}" if names else "no class folder"
            what += f"; not images: {_listed(splits[role].left_out)}" if splits[role].left_out else ""
            raise InputError(
                f"`dataset` image_folder {path!r} has no image in its {splits[role].name!r} split, but {what}"
            )
    if len(names) < min_classes:
        raise InputError(f"`dataset` image_folder needs at least two classes. Received: {', '.join(names)}")
    if training:
        _check_training_images([names.index(name) for _, name in splits["train"].images()], names)


def _check_training_images(labels: np.ndarray | Sequence[int], names: Sequence[str]) -> None:
    counts = np.bincount(labels, minlength=len(names))
    if not counts.all():
        raise InputError(f"`dataset` image_folder has no training image of class {names[int(np.argmin(counts))]!r}")


def _tell(path: str, splits: Mapping[str, _Split], names: Sequence[str]) -> None:
    """Gives notes on what was left out and what was guessed."""
    left_out = [file for split in splits.values() for file in split.left_out]
    if left_out:
        _note(f"{path}: left out: {_counted(left_out, path)}, since only image files are read")
    below = [folder for split in splits.values() for folder in split.below]
    if below:
        _note(f"{path}: images in {_counted(below, path, 'subfolder')} count as images of the class folder above")
    for split in splits.values():
        empty = [name for name in names if not split.files.get(name) and name in split.files]
        if empty:
            _note(f"{path}: no image in the class folder {_listed(f'{split.name}/{name}' for name in empty)}")
    foreign = [name for name in names if "\\x" in name]
    if foreign:
        _note(f"{path}: class names that are not UTF-8 are written as {_listed(foreign)}")


class _Reader:
    """Reads the images of splits with several threads.

    Args:
        path: the data set's folder.
        names: class names, in the order of their numbers.
        image_size, images_dir, skip_damaged: see `load`.
    """

    def __init__(
        self, path: str, names: Sequence[str], image_size: int | None, images_dir: str | None, skip_damaged: bool
    ) -> None:
        self._path, self._numbers = path, {name: number for number, name in enumerate(names)}
        self._scale = None if image_size is None else _scaling(image_size)
        self._images_dir, self._skip_damaged = images_dir, skip_damaged
        self._damaged: list[tuple[str, str | ValueError]] = []
        self._deep: dict[str, int] = {}  # path of a 16-bit image -> upper 8 bits of its largest value

    def read(self, split: _Split) -> Examples:
        """Returns the `Examples` of a `_Split`."""
        files = split.images()
        if not files:
            raise InputError(f"`dataset` image_folder {self._path!r} has no image in its {split.name!r} split")
        labels = np.array([self._numbers[name] for _, name in files], np.int32)
        images: np.ndarray | None = None
        read: list[int] = []
        shown = {"total": len(files), "unit": " images", "unit_scale": True, "delay": 5, "disable": None}
        pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
        try:
            with tqdm(desc=f"Reading image_folder/{split.name}", leave=False, **shown) as bar:
                for place, image in enumerate(self._decoded_in_order(pool, split, files)):
                    bar.update()
                    if image is None:
                        continue
                    if images is None:
                        first, images = place, room((len(files), *image.shape), self._images_dir)
                    if image.shape != images.shape[1:]:
                        raise InputError(
                            "`dataset` image_folder has images of different sizes, such as "
                            f"{_shown(files[first][0])} {images.shape[1:]} and {_shown(files[place][0])} "
                            f"{image.shape}: choose an `image_size`"
                        )
                    images[len(read)] = image  # behind the last intact one
                    read.append(place)
        finally:
            pool.shutdown(cancel_futures=True)
        if images is None:
            raise InputError(f"`dataset` image_folder: no image of the {split.name!r} split can be decoded")
        if self._images_dir is None:
            return Examples(images[: len(read)], labels[read])
        return Examples(ImagesOnDisk(images, np.arange(len(read))), labels[read])

    def _decoded_in_order(
        self, pool: concurrent.futures.Executor, split: _Split, files: Sequence[tuple[str, str]]
    ) -> Iterator[np.ndarray | None]:
        """Yields what `_decoded` returns, image by image, and decodes only a few images ahead."""
        tasks = [[path for path, _ in files[start : start + TASK]] for start in range(0, len(files), TASK)]
        begun = (os.cpu_count() or 1) + 1
        ahead = collections.deque(pool.submit(self._decoded, split, task) for task in tasks[:begun])
        for task in itertools.chain(tasks[len(ahead) :], itertools.repeat(None, len(ahead))):
            yield from ahead.popleft().result()
            if task is not None:
                ahead.append(pool.submit(self._decoded, split, task))

    def _decoded(self, split: _Split, paths: Sequence[str]) -> list[np.ndarray | None]:
        """Returns a list of the images' pixels, uint8 [H, W, 3]; None for an image that is skipped."""
        scale = self._scale
        images: list[np.ndarray | None] = []
        small: dict[tuple[int, ...], dict[int, np.ndarray]] = {}  # shape -> place -> image
        for place, path in enumerate(paths):
            image = self._decoded_file(split, path)
            if scale is not None and image is not None:
                if image.size > LARGE:
                    image = scale(image[None])[0]
                else:
                    small.setdefault(image.shape, {})[place] = image
            images.append(image)
        if scale is not None:
            for alike in small.values():  # as one batch, which takes a fraction of the time
                for place, scaled in zip(alike, scale(np.stack(list(alike.values()))), strict=True):
                    images[place] = scaled
        return images

    def _decoded_file(self, split: _Split, path: str) -> np.ndarray | None:
        try:
            with open(path, "rb") as file:
                image, deep = decode(file.read())
        except (FileNotFoundError, ValueError) as error:  # a dangling link, or damage
            reason = "a link to a file that does not exist" if isinstance(error, OSError) else error
            if self._skip_damaged:
                self._damaged.append((path, reason))
                return None
            raise InputError(
                f"`dataset` image_folder: {_shown(path)} of the {split.name!r} split cannot be decoded: {reason}; "
                "repair it, remove it, or skip such files: `skip_damaged=True`"
            ) from error
        if deep:
            self._deep[path] = int(image.max())
        return image

    def tell(self) -> None:
        """Gives notes on which files were damaged, and on 16-bit images that look too dark."""
        if self._damaged:
            reasons = "; ".join(f"{_shown(os.path.relpath(each, self._path))}: {why}" for each, why in self._damaged)
            _note(f"{self._path}: {len(self._damaged)} damaged images were left out: {reasons}")
        if self._deep and max(self._deep.values()) < TWELVE_BITS:
            _note(
                f"{self._path}: only the upper 8 bits are kept of {_counted(self._deep, self._path, '16-bit image')}, "
                "but no value reaches 4096: 12-bit values come out nearly black; multiply them by 16 first"
            )


def _scaling(image_size: int) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function of arrays: uint8 [B, H, W, 3] -> uint8 [B, image_size, image_size, 3]."""
    resize = resizing(image_size)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    def scale(images: tf.Tensor) -> tf.Tensor:
        with tf.device("CPU"):
            return tf.saturate_cast(tf.round(resize(images)), tf.uint8)

    return lambda images: scale(images).numpy()


def _counted(paths: Iterable[str], root: str, what: str = "file", plural: str | None = None) -> str:
    """Returns text: how many paths there are, and the first few of them relative to `root`."""
    paths = sorted(paths)
    names = [_shown(os.path.relpath(path, root)) for path in paths[:NAMED]]
    more = [f"{len(paths) - NAMED} more"] if len(paths) > NAMED else []
    noun = what if len(paths) == 1 else plural or f"{what}s"
    return f"{len(paths)} {noun} ({', '.join([*names, *more])})"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(_shown(name) for name in names)


def _shown(name: str) -> str:
    """Returns a file name as printable text; bytes that are not UTF-8 become escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _note(message: str) -> None:
    warnings.warn(message, Note, stacklevel=5)
