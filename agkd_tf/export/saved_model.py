"""Export to SavedModels that need nothing but TensorFlow to run."""

import pathlib
import shutil
from collections.abc import Iterable

import keras
import tensorflow as tf

from agkd_tf.attention import class_irrelevant_map
from agkd_tf.data.pixels import as_float
from agkd_tf.errors import InputError
from agkd_tf.models import Classifier
from agkd_tf.models.storage import write_class_names
from agkd_tf.types import PathLike


def export_saved_model(
    model: keras.Model | Classifier, folder: PathLike, *, class_names: Iterable[str] | None = None
) -> None:
    """Writes a classifier as a SavedModel.

    Signatures: `serving_default` takes `images` float32 [B, H, W, C] in [0, 1], `serving_uint8` takes them as
    uint8 in 0-255, both for any B. Both return a dict of float32 tensors: `logits` [B, n], `probabilities`
    [B, n], and, if the network has them, `embedding` [B, K] and `attention` [B, h, w] in [0, 1] (the
    class-irrelevant map).

    Args:
        model: built `keras.Model` from images in [0, 1] to logits; a `Classifier`; or a `Defense`, whose student is
            exported.
        folder: folder to write; an existing SavedModel there is replaced once the new one is complete.
        class_names: a name for each class, written to `assets.extra/agkd_tf.json`; None if they are not known.

    Raises:
        InputError: if the folder exists and is not a SavedModel, since it would be replaced.
        OSError: if the folder cannot be written.
    """
    folder = pathlib.Path(folder)
    if folder.exists() and not (folder / "saved_model.pb").is_file():
        raise InputError(f"`folder` exists and is not a SavedModel; it would be replaced. Received: {str(folder)!r}")
    classifier = getattr(model, "classifier", model)  # a defense's own classifier knows the names of its layers
    if not isinstance(classifier, Classifier):
        classifier = Classifier(model)

    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = classifier(as_float(images))
        served = {"logits": outputs.logits, "probabilities": tf.nn.softmax(outputs.logits)}
        if outputs.embedding is not None:
            served["embedding"] = outputs.embedding
        if outputs.features is not None:
            served["attention"] = class_irrelevant_map(outputs.features)
        return served

    archive = keras.export.ExportArchive()
    archive.track(classifier.model)
    shape = (None, *classifier.image_shape)
    for name, dtype in (("serving_default", tf.float32), ("serving_uint8", tf.uint8)):
        archive.add_endpoint(name, serve, input_signature=[tf.TensorSpec(shape, dtype, name="images")])
    unfinished, replaced = (folder.with_name(f".{folder.name}.{state}") for state in ("unfinished", "replaced"))
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)  # raises Python's own OSError if the folder cannot be written
    archive.write_out(str(unfinished), verbose=False)
    if class_names is not None:
        write_class_names(unfinished, class_names)
    if folder.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        folder.rename(replaced)
    unfinished.rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)
