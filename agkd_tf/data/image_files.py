"""Decodes image files of any format into RGB pixels."""

import functools
import io
import os

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

ORIENTATION = 0x0112  # EXIF's tag
ORIENTED = (b"Exif", b"eXIf", b"exif", b"rientation")  # a PNG or JPEG file with an orientation contains one of these
BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # TIFF tags, and a value of the second

# Pillow's formats that are not pictures, whose pixels it cannot read, or that run another program (EPS: Ghostscript).
NOT_READ = {"BUFR", "EPS", "FITS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"}

# (offset, bytes) that identify an image whose file name does not.
SIGNATURES = (
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"\xff\xd8\xff"),
    (0, b"GIF8"),
    (8, b"WEBP"),
    (4, b"ftypavif"),
)
PNG, JPEG = SIGNATURES[0][1], SIGNATURES[1][1]
SIGNED = max(place + len(signature) for place, signature in SIGNATURES)  # bytes


@functools.cache
def formats() -> tuple[str, ...]:
    """Returns a tuple of the names of the supported formats."""
    Image.init()
    return tuple(name for name in Image.OPEN if name not in NOT_READ)


@functools.cache
def extensions() -> frozenset[str]:
    """Returns a frozenset of the image files' extensions, in lower case and with the dot."""
    known = set(formats())
    return frozenset(ending for ending, name in Image.registered_extensions().items() if name in known)


def is_image(path: str) -> bool:
    """Returns whether a file's extension or its first bytes say that it is an image.

    Raises:
        OSError: if the extension does not tell and the file cannot be read.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        return False  # for example a pipe, whose reading would block
    if os.path.splitext(path)[1].lower() in extensions():
        return True  # including a dangling link, which is reported as damaged
    if not os.path.exists(path):
        return False
    with open(path, "rb") as file:
        begin = file.read(SIGNED)
    return any(begin[place : place + len(signature)] == signature for place, signature in SIGNATURES)


def decode(content: bytes) -> tuple[np.ndarray, bool]:
    """Returns (RGB pixels uint8 [H, W, 3], whether the file has more than 8 bits per value).

    TensorFlow decodes PNG and JPEG files, Pillow all others. Of an animation, the first frame is used. Grayscale,
    palette and CMYK images become RGB; transparency is dropped. Of 16-bit values, the upper 8 bits are kept. The
    EXIF orientation is applied.

    Args:
        content: bytes of the file.

    Raises:
        ValueError: if the bytes are not an image, the image is damaged or truncated, or its values have no known
            range. The message gives the reason in one line.
    """
    try:
        if content.startswith(PNG):
            # Byte 24 of the header is the number of bits per value.
            return _upright(_by_tensorflow(content), content), content[24] == 16
        if content.startswith(JPEG):
            if b"\xff\xd9" not in content:  # TensorFlow would print more lines besides raising its error
                raise ValueError("truncated: it has no end-of-image marker")
            return _upright(_by_tensorflow(content), content), False
        return _by_pillow(content)
    except (MemoryError, ValueError):
        raise
    except Exception as error:  # arbitrary bytes can raise anything
        raise ValueError((str(error) or type(error).__name__).splitlines()[0]) from error


def _by_tensorflow(content: bytes) -> np.ndarray:
    try:
        return tf.io.decode_image(content, channels=3, expand_animations=False).numpy()
    except tf.errors.OpError as error:
        raise ValueError(error.message.rpartition("}} ")[2].partition(" [Op:")[0].splitlines()[0]) from error


def _upright(pixels: np.ndarray, content: bytes) -> np.ndarray:
    if not any(word in content for word in ORIENTED):
        return pixels
    try:
        with Image.open(io.BytesIO(content), formats=formats()) as opened:
            orientation = opened.getexif().get(ORIENTATION, 1)
    except Exception:  # the metadata are damaged, but the pixels are intact
        return pixels
    if orientation == 1:
        return pixels
    image = Image.fromarray(pixels)
    image.getexif()[ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


def _by_pillow(content: bytes) -> tuple[np.ndarray, bool]:
    try:
        opened = Image.open(io.BytesIO(content), formats=formats())
    except Image.UnidentifiedImageError as error:
        raise ValueError("it is not in a supported image format") from error
    with opened:
        image: Image.Image = opened
        tags = getattr(image, "tag_v2", {})
        deep = image.mode.startswith("I") or max(tags.get(BITS_PER_SAMPLE, (8,))) > 8
        inverted = image.mode.startswith("I") and tags.get(PHOTOMETRIC) == WHITE_IS_ZERO
        image = ImageOps.exif_transpose(image)
        if image.mode == "F":
            raise ValueError("its values are floating-point numbers of unknown range")
        if inverted:
            raise ValueError("in its 16-bit values, 0 is white")
        if image.mode.startswith("I"):
            values = np.asarray(image)
            if values.min() < 0 or values.max() > 65535:
                raise ValueError(f"its values are {values.min()} to {values.max()}, not 0 to 65535")
            return np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2), True
        if "transparency" in image.info:
            image = image.convert("RGBA")  # Pillow warns without this step
        return np.asarray(image.convert("RGB")), deep
