"""Callables `images -> logits` for models from outside this project."""

import functools
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from agkd_tf.errors import InputError, Note
from agkd_tf.evaluation.checks import check_probabilities
from agkd_tf.models.adapt import pixel_scale_and_offset
from agkd_tf.types import Logits, PathLike

FLOOR = 1e-30
DEFAULT = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
CHANNELS = (1, 3)  # grey and color: used to tell channels-first from channels-last images


def logits_of_probabilities(predict: keras.Model | Callable[[tf.Tensor], tf.Tensor]) -> Logits:
    """Returns a callable that turns the probabilities of `predict` into logits by taking their logarithm.

    Exact except for rounding: where a probability has been rounded to 0 or 1, its gradient is lost, which makes
    attacks weaker. Remove the softmax instead (`agkd_tf.models.remove_softmax`) where you can.

    Args:
        predict: callable, float32 images [B, H, W, C] in [0, 1] -> probabilities [B, n]; or a `keras.Model`, which is
            called in inference mode.

    Raises:
        InputError: raised by the returned callable in eager mode, if the outputs are not probabilities.
    """
    if isinstance(predict, keras.Model):
        predict = functools.partial(predict, training=False)

    def logits(images: tf.Tensor) -> tf.Tensor:
        probabilities = tf.cast(predict(images), tf.float32)
        # A graph cannot raise; `run_attack` checks the first images eagerly before it builds one.
        if tf.executing_eagerly():
            check_probabilities(probabilities)
        return tf.math.log(tf.maximum(probabilities, FLOOR))

    return logits


def logits_of_pixels(
    logits: Logits,
    *,
    channels: int,
    pixel_range: Sequence[float] = (0, 1),
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
) -> Logits:
    """Returns a callable that takes images in [0, 1] and rescales them for `logits`; see `agkd_tf.adapt`.

    Args:
        logits: callable, float32 images [B, H, W, C] -> float32 logits [B, n].
        channels: C.
        pixel_range, mean, std: as for `agkd_tf.adapt`.

    Raises:
        InputError: if the values do not fit an image.
    """
    scale, offset = pixel_scale_and_offset(pixel_range, mean, std, channels)
    return lambda images: logits(images * tf.constant(scale, tf.float32) + tf.constant(offset, tf.float32))


def saved_model_logits(
    folder: PathLike, *, signature: str | None = None, output: str | None = None
) -> tuple[Logits, int, tuple[int, int, int] | None]:
    """Returns (callable from images to logits, number of classes, image shape) for any SavedModel.

    A SavedModel is a program: load only one that you trust.

    The callable takes float32 images [B, H, W, C] in [0, 1] for any B, and is differentiable. It casts them to the
    signature's dtype and transposes them if the signature takes channels first [B, C, H, W]. If the signature takes a
    fixed batch size, it runs as many batches as needed and pads the last one.

    Args:
        folder: the SavedModel.
        signature: name of the signature, which must take one batch of images in [0, 1] of a float dtype; None for
            `serving_default`, or for the only signature.
        output: name of the output that holds the logits; None for `logits`, or for the only output.

    The image shape is (H, W, C), or None if the signature leaves any of the three open.

    Warns:
        Note: if the signature takes channels first.

    Raises:
        InputError: if the folder is not a SavedModel, has no such signature or output, does not take float images, or
            does not state its number of classes; also raised by the callable in eager mode, if the program does not
            run.
    """
    loaded = _load(folder)
    signature, function = _signature(loaded, signature)
    inputs, outputs = function.structured_input_signature[1], function.structured_outputs
    if len(inputs) != 1:
        names = ", ".join(sorted(inputs))
        raise InputError(f"`saved_model`: {signature!r} must take one image batch. It takes: {names}")
    ((argument, images),) = inputs.items()
    if not images.dtype.is_floating or images.shape.rank not in (None, 4):
        raise InputError(
            f"`saved_model`: {signature!r} must take float32 images [B, H, W, C]. "
            f"It takes: {images.dtype.name} {images.shape}{_remedy(loaded, images)}"
        )
    name = _output(folder, outputs, output)
    classes = outputs[name].shape[-1]
    batch, *shape = images.shape if images.shape.rank == 4 else [None] * 4
    turned = shape[0] in CHANNELS and shape[2] is not None and shape[2] not in CHANNELS
    if turned:
        shape = [shape[1], shape[2], shape[0]]
        warnings.warn(
            f"`saved_model` {folder} takes channels first, {images.shape}: images are transposed for it",
            Note,
            stacklevel=2,
        )

    def run(images: tf.Tensor) -> tf.Tensor:
        # `loaded` owns the variables; this closure keeps it alive.
        return tf.cast(loaded.signatures[signature](**{argument: images})[name], tf.float32)

    def logits(given: tf.Tensor) -> tf.Tensor:
        given = tf.cast(tf.transpose(given, [0, 3, 1, 2]) if turned else given, images.dtype)
        try:
            return run(given) if batch is None else _in_batches(run, given, batch, classes)
        except tf.errors.OpError as error:  # such as an operation or a device that this machine lacks
            if not tf.executing_eagerly() or isinstance(error, tf.errors.ResourceExhaustedError):
                raise
            raise InputError(f"`saved_model` {folder} does not run: {_reason(error)}") from error

    return logits, classes, tuple(shape) if None not in shape else None


def _load(folder: PathLike) -> Any:
    try:
        try:
            return tf.saved_model.load(str(folder))
        except ValueError:  # from TensorFlow 1 with a training graph as well: the one to load must be named
            return tf.saved_model.load(str(folder), tags=[tf.saved_model.SERVING])
    except MemoryError:
        raise
    except Exception as error:  # the files may hold anything
        raise InputError(f"`saved_model` {folder} cannot be read: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Returns an error's actual cause in one line; TensorFlow prints the traceback before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in lines if re.match(r"[A-Za-z]*Error: ", line)), lines[0])


def _signature(loaded: Any, name: str | None) -> tuple[str, Any]:
    """Returns (name, function) of the signature called `name`; without a name, of the default or the only one."""
    signatures = loaded.signatures
    if not signatures:
        raise InputError(
            "`saved_model` has no signature: save it with one, "
            'tf.saved_model.save(module, folder, signatures={"serving_default": module.predict})'
        )
    if name is None:
        name = DEFAULT if DEFAULT in signatures or len(signatures) > 1 else next(iter(signatures))
    if name not in signatures:
        raise InputError(f"`saved_model` has no signature {name!r}. It has: {', '.join(signatures)} (`signature=NAME`)")
    return name, signatures[name]


def _remedy(loaded: Any, images: tf.TensorSpec) -> str:
    """Returns what to type if a signature does not take float images."""
    for name, function in loaded.signatures.items():
        inputs = list(function.structured_input_signature[1].values())
        if len(inputs) == 1 and inputs[0].dtype.is_floating and inputs[0].shape.rank in (None, 4):
            return f"; `signature={name!r}` takes {inputs[0].dtype.name}"
    if images.dtype.is_integer:
        return (
            ", which have no gradient: save it with a signature that takes tf.TensorSpec([None, H, W, C], tf.float32)"
        )
    return ""


def _output(folder: PathLike, outputs: Mapping[str, tf.Tensor], name: str | None) -> str:
    """Returns the name of the output that holds the logits."""
    found = name or ("logits" if "logits" in outputs else None) or (next(iter(outputs)) if len(outputs) == 1 else None)
    if found is None or found not in outputs:
        known = ", ".join(f"{each} {_shape(tensor)}" for each, tensor in sorted(outputs.items()))
        raise InputError(
            f"`saved_model` {folder}: `output`, which holds the logits, must be one of {known} (`output=NAME`). "
            f"Received: {name!r}"
        )
    tensor = outputs[found]
    if tensor.shape.rank != 2 or tensor.shape[-1] is None or not tensor.dtype.is_floating:
        raise InputError(
            f"`saved_model` {folder}: `output` must be float [B, n] with a known n. "
            f"Received: {found!r}, {_shape(tensor)}"
        )
    return found


def _shape(tensor: tf.Tensor) -> str:
    return f"{tensor.dtype.name} {tensor.shape}"


def _in_batches(run: Logits, images: tf.Tensor, size: int, classes: int) -> tf.Tensor:
    """Runs a program that takes `size` images at a time on all images; returns float32 [B, classes]."""
    count = tf.shape(images)[0]
    filled = tf.pad(images, [[0, -count % size], [0, 0], [0, 0], [0, 0]])
    batches = tf.reshape(filled, tf.concat([[-1, size], tf.shape(images)[1:]], 0))
    # One after the other, so that it takes no more memory than the program was made for.
    outputs = tf.map_fn(
        run, batches, fn_output_signature=tf.TensorSpec([size, classes], tf.float32), parallel_iterations=1
    )
    return tf.reshape(outputs, [-1, classes])[:count]
