"""Accuracy of a classifier under an attack."""

import dataclasses
import time

import numpy as np
import tensorflow as tf

from agkd_tf.data.batches import evaluation_batches
from agkd_tf.data.pixels import as_float
from agkd_tf.evaluation.interval import wilson_interval
from agkd_tf.randomness import step_seed


@dataclasses.dataclass(frozen=True)
class Result:
    """Accuracy under one attack.

    Attributes:
        accuracy: share of images classified correctly, in [0, 1].
        num_examples: images.
        interval: (low, high), the 95 % confidence interval.
        attack: the attack's settings.
        seed: of the attack's random start.
        seconds: wall time, compilation included.
        correct: bool [num_examples], image by image.
    """

    accuracy: float
    num_examples: int
    interval: tuple[float, float]
    attack: dict
    seed: int
    seconds: float
    correct: np.ndarray

    def record(self):
        """Returns the result for JSON, without the images' own outcomes."""
        return {
            "accuracy": self.accuracy,
            "num_examples": self.num_examples,
            "confidence_interval_95": list(self.interval),
            "attack": self.attack,
            "seed": self.seed,
            "seconds": round(self.seconds, 2),
        }


def evaluate(logits, examples, attack, *, batch_size=100, seed=0, jit_compile=False, progress=None):
    """Returns the `Result` of a classifier under an attack.

    An image's adversary depends on the image, its place in `examples` and the seed, not on its batch.

    Args:
        logits: callable, float32 images [B, H, W, C] in [0, 1] -> float32 logits [B, n], inference mode.
        examples: `Examples`.
        attack: `GradientAttack`, or a callable of its signature with a `settings()`.
        batch_size: images a step.
        seed: integer.
        jit_compile: compile with XLA.
        progress: callable, called with the number of images done after each batch.
    """
    start = time.perf_counter()
    seed_pair = step_seed(seed, 0)

    @tf.function(jit_compile=jit_compile, autograph=False)
    def hits(images, labels, indices):
        images = as_float(images)
        adv = attack(logits, images, labels, indices, seed_pair)
        return tf.equal(tf.argmax(logits(adv), axis=1, output_type=tf.int32), labels)

    correct, batch_size = [], min(batch_size, len(examples))
    for batch in evaluation_batches(examples, batch_size=batch_size):
        batch_hits = hits(batch["image"], batch["label"], batch["index"]).numpy()
        correct.append(batch_hits[batch["valid"].numpy() > 0])
        if progress:
            progress(sum(map(len, correct)))
    correct = np.concatenate(correct)
    return Result(
        accuracy=float(correct.mean()),
        num_examples=len(correct),
        interval=wilson_interval(correct.sum(), len(correct)),
        attack=attack.settings(),
        seed=seed,
        seconds=time.perf_counter() - start,
        correct=correct,
    )
