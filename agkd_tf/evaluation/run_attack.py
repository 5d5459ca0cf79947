"""The evaluation loop: runs an attack batch by batch, each stage on the images that earlier stages did not break."""

import math
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from agkd_tf.attacks import Attack, AttackSequence, Ball
from agkd_tf.attacks.rounding import Rounded, towards
from agkd_tf.cores import by_all_cores
from agkd_tf.data import Examples
from agkd_tf.data.pixels import as_float
from agkd_tf.distribution import by_all_replicas, num_replicas
from agkd_tf.errors import InputError
from agkd_tf.evaluation.checks import check_answers, check_classifier
from agkd_tf.evaluation.outcome import Outcome
from agkd_tf.evaluation.result import AttackResult
from agkd_tf.models import logits_of
from agkd_tf.processor import warn_of_slow_settings
from agkd_tf.randomness import step_seed
from agkd_tf.types import Logits

# XLA compiles anew for each shape: an incomplete batch is padded to 1/16, 1/4 or all of the batch size.
STATIC_SHARES = (16, 4, 1)


def run_attack(
    logits: keras.Model | Logits,
    examples: Examples,
    attack: AttackSequence,
    *,
    batch_size: int = 100,
    seed: int = 0,
    jit_compile: bool = False,
    outcome: Outcome | None = None,
    adversaries: np.ndarray | None = None,
    checkpoint: Callable[[], None] | None = None,
    progress: Callable | None = None,
) -> AttackResult:
    """Runs an attack on a classifier, on all images; returns the `AttackResult`. See `continue_attack`.

    Args:
        logits, examples, attack, batch_size, seed, jit_compile, adversaries, checkpoint, progress: as
            `continue_attack`.
        outcome: `Outcome` to continue and fill; None for a fresh one.

    Raises:
        InputError: as `continue_attack`.
    """
    outcome = Outcome.fresh(len(examples)) if outcome is None else outcome
    continue_attack(
        logits,
        examples,
        attack,
        outcome,
        batch_size=batch_size,
        seed=seed,
        jit_compile=jit_compile,
        adversaries=adversaries,
        checkpoint=checkpoint,
        progress=progress,
    )
    return AttackResult.of_outcome(outcome, attack, seed=seed)


def continue_attack(
    logits: keras.Model | Logits,
    examples: Examples,
    attack: AttackSequence,
    outcome: Outcome,
    *,
    places: np.ndarray | None = None,
    compiled: dict[Attack, Callable] | None = None,
    batch_size: int = 100,
    seed: int = 0,
    jit_compile: bool = False,
    adversaries: np.ndarray | None = None,
    checkpoint: Callable[[], None] | None = None,
    progress: Callable | None = None,
) -> None:
    """Runs an attack on a classifier until its outcome is known for all images, or for some of them.

    Each stage of the attack sees only the images that the earlier stages did not break, packed into full batches. An
    image's adversary depends on the image, its index in `examples` and the seed, but not on its batch. An evaluation
    that is interrupted and continued therefore ends with the same numbers as one without interruption. In the scope of
    a `tf.distribute.Strategy` for one machine, the devices share each batch, and otherwise a processor's cores do; the
    numbers are the same.

    Args:
        logits: a `keras.Model`, evaluated in inference mode; or a callable, float32 images [B, H, W, C] in [0, 1] ->
            float32 logits [B, n].
        examples: `Examples`.
        attack: `agkd_tf.attacks.AttackSequence`.
        outcome: `Outcome` to continue and fill.
        places: int [n], indices of the images to attack; None for all.
        compiled: dict that keeps the compiled attacks for further calls with the same network, images' shape and
            settings; None to keep only the one at work, which takes less memory.
        batch_size: images per step.
        seed: integer.
        jit_compile: compile with XLA.
        adversaries: float32 array [N, H, W, C] to write the adversarial images to; None to discard them.
        checkpoint: callable without arguments, called after each batch, when `outcome` is consistent.
        progress: callable (stage's part, its variant, images done, images in total), called when a stage begins and
            after each batch.

    Warns:
        SlowProcessorWarning: once, if this CPU could do a step in a fraction of the time with other settings.
        Note: if two passes give different logits, or most gradients are exactly zero (see `check_answers`).

    Raises:
        InputError: if the logits are not finite, are probabilities, or have no gradient although the attack needs it;
            if float images lie outside [0, 1], or labels exceed the number of logits.
    """
    warn_of_slow_settings(logits if isinstance(logits, keras.Model) else None)
    logits = logits_of(logits)
    seed_pair, steps = step_seed(seed, 0), {} if compiled is None else compiled
    repeats = check_answers(logits, examples, attack, check_classifier(logits, examples))
    for part in attack.attacks:
        part.check_images(examples.images)  # type: ignore[arg-type]  # images on disk can be read like an array
    for number, (part, variant) in enumerate(attack.stages):
        waiting = outcome.waiting(number)
        if places is not None:
            waiting = np.intersect1d(waiting, places)
        if not len(waiting):
            continue
        if part not in steps:
            start = time.perf_counter()
            if compiled is None:
                steps.clear()
            make = measuring_step if attack.minimum_norm else attack_step
            step = make(part, attack.ball, logits, seed_pair)
            # XLA compiles for one size. Random layers that run at once would draw in any order.
            shared = by_all_cores if repeats and num_replicas() == 1 and not jit_compile else by_all_replicas
            steps[part] = shared(_compiled(step, examples, jit_compile))
            outcome.seconds += time.perf_counter() - start
        if progress:
            progress(part, variant, 0, len(waiting))
        for begin in range(0, len(waiting), batch_size):
            start, chosen = time.perf_counter(), waiting[begin : begin + batch_size]
            padded = _filled(chosen, batch_size, jit_compile)
            batch = examples.take(padded)
            rows = (tf.constant(batch.images), tf.constant(batch.labels), tf.constant(padded, tf.int32))
            adv, *found = steps[part](rows, tf.constant(variant))
            prediction, finite, *measured = (tensor.numpy()[: len(chosen)] for tensor in found)
            if not finite.all():
                raise InputError(
                    f"the classifier's logits of image {chosen[~finite][0]} under {part.name} are NaN or infinite"
                )
            if adversaries is not None:
                adversaries[chosen] = adv.numpy()[: len(chosen)]
            outcome.prediction[chosen] = prediction
            outcome.state[chosen] = np.where(prediction == batch.labels[: len(chosen)], number + 1, -(number + 1))
            for norms in measured:
                outcome.measure(chosen, norms, prediction)
                outcome.judge(attack.ball, examples.labels)
            outcome.seconds += time.perf_counter() - start
            if checkpoint:
                checkpoint()
            if progress:
                progress(part, variant, begin + len(chosen), len(waiting))


def attack_step(part: Attack, ball: Ball, logits: Logits, seed: tf.Tensor) -> Callable[..., tuple]:
    """Returns a function that attacks a batch: (images, labels, indices, variant) -> (adversaries, classes, finite).

    Images are uint8, or float in [0, 1], [B, H, W, C]; labels are int32 [B]; indices are the images' positions in
    their split, int32 [B]; the variant is an int32 scalar. The function returns the adversaries, float32 [B, H, W, C],
    the predicted classes, int32 [B], and whether the logits are finite, bool [B].

    Args:
        part: `agkd_tf.attacks.Attack`.
        ball: ball that the adversaries must lie in.
        logits: callable, float32 images -> float32 logits [B, n].
        seed: int32 [2].
    """

    def step(images: tf.Tensor, labels: tf.Tensor, indices: tf.Tensor, variant: tf.Tensor) -> tuple:
        adv = part.perturb(logits, as_float(images), labels, ball=ball, indices=indices, seed=seed, variant=variant)
        scores = logits(adv)
        finite = tf.reduce_all(tf.math.is_finite(scores), axis=1)
        return adv, tf.argmax(scores, axis=1, output_type=tf.int32), finite

    return step


def measuring_step(part: Attack, ball: Ball, logits: Logits, seed: tf.Tensor) -> Callable[..., tuple]:
    """Returns a function like that of `attack_step` for an attack that searches for the smallest perturbation.

    It returns a fourth tensor, the norms of the smallest perturbations, float32 [B]: for the attack infinity, and for
    clean images NaN, where the classifier is not fooled. The classes and whether logits are finite are those of the
    images with these perturbations; an adversary outside the ball is replaced by the clean image.

    Args:
        part: the attack, or the one that leaves images clean.
        ball, logits, seed: as `attack_step`.
    """
    missing = math.inf if part.minimum_norm else math.nan

    def step(images: tf.Tensor, labels: tf.Tensor, indices: tf.Tensor, variant: tf.Tensor) -> tuple:
        clean = as_float(images)
        if isinstance(part, Rounded):
            clean = towards(clean, clean)  # in its bits
        everything = Ball(ball.norm, 1.0 if ball.norm == "linf" else math.sqrt(math.prod(clean.shape[1:])))
        nearest, prediction, finite = attack_step(part, everything, logits, seed)(images, labels, indices, variant)
        norms = tf.where(tf.equal(prediction, labels), missing, ball.length(nearest - clean))
        within = (norms <= ball.limit)[:, None, None, None]
        return tf.where(within, nearest, clean), prediction, finite, norms

    return step


def _compiled(step: Callable[..., tuple], examples: Examples, jit_compile: bool) -> Callable:
    # Without XLA, one trace serves all batch sizes.
    shape = examples.images.shape[1:]
    integers = tf.TensorSpec([None], tf.int32)
    signature = [tf.TensorSpec([None, *shape], examples.images.dtype), integers, integers, tf.TensorSpec([], tf.int32)]
    if jit_compile or num_replicas() > 1:
        return tf.function(
            step, jit_compile=jit_compile, autograph=False, input_signature=None if jit_compile else signature
        )
    # Traced here: TensorFlow would take the traces of several attacks for needless ones of a single function, and warn.
    return tf.function(step, autograph=False).get_concrete_function(*signature)


def _filled(places: np.ndarray, batch_size: int, jit_compile: bool) -> np.ndarray:
    """Returns the indices, padded with copies of the first one to a size that the replicas, and XLA, can take."""
    replicas = num_replicas()
    size = replicas * -(-len(places) // replicas)
    if jit_compile:
        sizes = (replicas * max(1, -(-batch_size // (share * replicas))) for share in STATIC_SHARES)
        size = next(each for each in sizes if each >= size)
    return np.concatenate([places, np.full(size - len(places), places[0])])
