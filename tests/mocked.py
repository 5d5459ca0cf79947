"""Data sets of tensorflow-datasets that cannot be had without a network."""

from unittest import mock

import numpy as np
import tensorflow_datasets


def prepare_mocked(name, folder, *, splits=("train", "test"), sizes=(24, 12)):
    """Has the stock builder of a data set write images whose pixels are their numbers, from 0 again after 255.

    Args:
        name: the data set.
        folder: where it is prepared.
        splits: names of splits.
        sizes: numbers of their images.
    """
    builder = tensorflow_datasets.builder(name, data_dir=folder)
    classes, shape = builder.info.features["label"].num_classes, builder.info.features["image"].shape

    def examples(count):
        for number in range(count):
            example = {"image": np.full(shape, number % 256, np.uint8), "label": number % classes}
            if "coarse_label" in builder.info.features:
                example["coarse_label"] = 0
            if "id" in builder.info.features:
                example["id"] = str(number)
            yield number, example

    written = dict(zip(splits, sizes, strict=False))

    def generators(self, *_):
        return {split: examples(size) for split, size in written.items()}

    with mock.patch.object(type(builder), "_split_generators", generators):
        builder.download_and_prepare()
