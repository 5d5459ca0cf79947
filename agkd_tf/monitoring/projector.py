"""Embeddings in TensorBoard's projector, where a person can turn them."""

import csv
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorboard.plugins import projector

from agkd_tf.files import replacing

SPRITE_SIDE = 8192  # pixels a side that TensorBoard shows of a sprite


def write_projector(
    folder: pathlib.Path, name: str, embeddings: np.ndarray, images: np.ndarray, metadata: Mapping[str, Sequence[str]]
) -> None:
    """Writes embeddings with a thumbnail and a line of labels each.

    Args:
        folder: `pathlib.Path` of a TensorBoard run; a projector in it is replaced.
        name: of the tensor.
        embeddings: float32 [N, K].
        images: float32 [N, H, W, 1 or 3] in [0, 1].
        metadata: dict of column title -> N strings; at least two columns.
    """
    # TensorBoard looks for a projector only where there are event files.
    with tf.summary.create_file_writer(str(folder)).as_default():
        tf.summary.text(name, f"{len(embeddings)} embeddings, in the Projector", step=0)
    with replacing(folder / f"{name}.tsv") as path:
        np.savetxt(path, embeddings, fmt="%.5g", delimiter="\t")
    with replacing(folder / f"{name}_labels.tsv") as path, open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(metadata)
        writer.writerows(zip(*metadata.values(), strict=True))
    side = int(np.ceil(len(images) ** 0.5))
    height, width = (min(size, SPRITE_SIDE // side) for size in images.shape[1:3])
    with replacing(folder / f"{name}.png") as path:
        path.write_bytes(tf.io.encode_png(_sprite(images, side, height, width)).numpy())
    config = projector.ProjectorConfig()
    entry = config.embeddings.add(tensor_name=name, tensor_path=f"{name}.tsv", metadata_path=f"{name}_labels.tsv")
    entry.sprite.image_path = f"{name}.png"
    entry.sprite.single_image_dim.extend([width, height])
    projector.visualize_embeddings(str(folder), config)


def _sprite(images: np.ndarray, side: int, height: int, width: int) -> np.ndarray:
    """Returns one uint8 image [side * height, side * width, 3] of all images, row by row."""
    small = tf.image.resize(images, (height, width), antialias=True).numpy()
    small = np.broadcast_to(small, (*small.shape[:3], 3))
    sheet = np.zeros((side * side, height, width, 3), np.float32)
    sheet[: len(small)] = small
    rows = sheet.reshape(side, side, height, width, 3).swapaxes(1, 2).reshape(side * height, side * width, 3)
    return np.round(np.clip(rows, 0, 1) * 255).astype(np.uint8)
