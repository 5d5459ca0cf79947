"""Callables `images -> logits` of models that are not this project's."""

import functools

import keras
import tensorflow as tf

from agkd_tf.errors import InputError
from agkd_tf.evaluation.checks import check_probabilities

FLOOR = 1e-30


def logits_of_probabilities(predict):
    """Returns a callable to logits, of one that returns probabilities: their logarithm.

    Exact but for rounding: where a probability has become 0 or 1, its gradient is lost, which makes
    attacks weaker. Removing the softmax (`agkd_tf.models.remove_softmax`) is better where it can be done.

    Args:
        predict: callable, float32 images [B, H, W, C] in [0, 1] -> probabilities [B, n]; of a `keras.Model`, its
            inference mode is taken.

    Raises:
        InputError: by the callable where TensorFlow is eager, if the outputs are no probabilities.
    """
    if isinstance(predict, keras.Model):
        predict = functools.partial(predict, training=False)

    def logits(images):
        probabilities = tf.cast(predict(images), tf.float32)
        # A graph cannot raise; `evaluate` looks at the first images eagerly before it builds one.
        if tf.executing_eagerly():
            check_probabilities(probabilities)
        return tf.math.log(tf.maximum(probabilities, FLOOR))

    return logits


def saved_model_logits(folder, *, signature="serving_default", output=None):
    """Returns (a callable to logits, number of classes, image shape) of a SavedModel, anybody's.

    A SavedModel is a program: load only those whose origin you trust.

    Args:
        folder: the SavedModel.
        signature: name of the signature, which takes one float32 batch of images in [0, 1].
        output: name of the output that holds the logits; None for `logits`, or the only one.

    The image shape is (H, W, C), or None where the signature leaves any of it open.

    Raises:
        InputError: if the folder is not a SavedModel, has no such signature or output, takes something else than
            float32 images, or does not say its number of classes.
    """
    try:
        loaded = tf.saved_model.load(str(folder))
    except MemoryError:
        raise
    except Exception as error:  # of files that may hold anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"`saved_model` {folder} cannot be read: {reason}") from error
    signatures = loaded.signatures
    if signature not in signatures:
        raise InputError(f"`saved_model` has no signature {signature!r}. It has: {', '.join(signatures)}")
    function = signatures[signature]
    inputs, outputs = function.structured_input_signature[1], function.structured_outputs
    if len(inputs) != 1:
        raise InputError(f"`saved_model`: {signature!r} must take one image batch. It takes: {', '.join(inputs)}")
    name = output or ("logits" if "logits" in outputs else None) or (next(iter(outputs)) if len(outputs) == 1 else None)
    if name not in outputs:
        raise InputError(
            f"`saved_model` {folder}: `output`, the one that holds the logits, must be one of {', '.join(outputs)}. "
            f"Received: {output!r}"
        )
    ((argument, images),) = inputs.items()
    if images.dtype != tf.float32 or images.shape.rank not in (None, 4):
        raise InputError(
            f"`saved_model`: {signature!r} must take float32 images [B, H, W, C]. "
            f"It takes: {images.dtype.name} {images.shape}"
        )
    if outputs[name].shape.rank != 2 or outputs[name].shape[-1] is None:
        raise InputError(
            f"`saved_model` {folder}: `output` must be [B, n] with a known n. Received: {name!r}, {outputs[name].shape}"
        )
    shape = images.shape[1:] if images.shape.rank == 4 else tf.TensorShape(None)

    def logits(images):
        # `loaded` owns the variables; this closure keeps it alive.
        return tf.cast(loaded.signatures[signature](**{argument: images})[name], tf.float32)

    return logits, outputs[name].shape[-1], tuple(shape) if shape.is_fully_defined() else None
