"""Reads records of tensorflow-datasets, and the JPEG files in them, without TensorFlow."""

import importlib
import pathlib
import struct
import sys
from collections.abc import Iterator, Sequence

import numpy as np

from tools.laboratory.gpu.errors import MeasureError


def records(content: bytes) -> Iterator[bytes]:
    """Yields the records of a TFRecord file's content.

    Before each record are its length (8 bytes) and a checksum (4 bytes), and after it another checksum (4 bytes).
    """
    place = 0
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        if place + 16 + length > len(content):
            raise MeasureError("a file of records is cut off: copy the folder again")
        yield content[place + 12 : place + 12 + length]
        place += 16 + length


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yields (number, value) of each field of a protocol buffer; values are integers, or bytes that may be messages."""
    place = 0

    def whole_number() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place, value, shift = place + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while place < len(message):
        number, kind = divmod(whole_number(), 8)
        if kind == 0:
            yield number, whole_number()
        elif kind == 2:
            length = whole_number()
            yield number, message[place : place + length]
            place += length
        else:
            raise MeasureError(f"a record has a field of wire type {kind}, which no tf.train.Example has")


def features(record: bytes) -> dict[str, bytes]:
    """Returns a dict of name -> value of the features of a `tf.train.Example` that are one string of bytes."""
    found = {}
    for _, every in fields(record):
        for _, entry in fields(_bytes(every)):
            pair = dict(fields(_bytes(entry)))
            for kind, values in fields(_bytes(pair[2])):
                if kind == 1:  # bytes; 2 and 3 are floats and integers
                    found[_bytes(pair[1]).decode()] = next(_bytes(value) for _, value in fields(_bytes(values)))
    return found


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise MeasureError("a record is not a tf.train.Example: it has a number where a message belongs")
    return value


def decode(pictures: Sequence[bytes], decoder: pathlib.Path) -> np.ndarray:
    """Decodes JPEG files as TensorFlow does; returns uint8 [N, H, W, 3].

    Args:
        pictures: the files' contents.
        decoder: folder that holds simplejpeg, for machines where it is not installed.
    """
    sys.path.append(str(decoder))
    try:
        simplejpeg = importlib.import_module("simplejpeg")
    except ImportError as error:
        wanted = ", ".join(path.name for path in decoder.glob("simplejpeg/*.so"))
        raise MeasureError(
            f"simplejpeg cannot be imported: {error}. The folder has {wanted or 'none'}, but this is Python "
            f"{sys.version_info[0]}.{sys.version_info[1]}: run prepare with --python set to this version"
        ) from error
    return np.stack([simplejpeg.decode_jpeg(each, "RGB", fastdct=True, fastupsample=False) for each in pictures])
