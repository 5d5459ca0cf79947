"""`agkd_tf.evaluate` and `agkd_tf.audit`: accuracies under attack, and reasons to distrust them, in one call each."""

from typing import Any

from agkd_tf.evaluation.audit import Audit
from agkd_tf.evaluation.result import Evaluation
from agkd_tf.evaluation.session import ATTACKS, AUDITED, Attacks, EvaluationSession


def evaluate(model: Any, x: Any, y: Any = None, *, attacks: Attacks = ATTACKS, **settings: Any) -> Evaluation:
    """Returns the accuracies of a model under attacks; the result prints as the same table as the command line's.

        result = agkd_tf.evaluate(model, x_test, y_test, attacks=["clean", "pgd-20", AutoAttack()], eps=8 / 255)
        print(result)
        result["autoattack"].accuracy, result["autoattack"].interval, result.worst_case.correct

    Args:
        model: a `keras.Model` or a defense; the path of a run's folder, a `.keras` or `.h5` file, or a SavedModel; or
            a callable, float32 images [B, H, W, C] in [0, 1] -> float32 logits [B, n]. Adapt a model that takes other
            pixels first (`agkd_tf.adapt`); with a path, you can pass `pixel_range`, `mean`, `std` and `channels` here
            instead.
        x: images [N, H, W, C], uint8 or float in [0, 1], as an array, a tensor or a list; a `tf.data.Dataset` of images
            and labels; or a split, such as `load_dataset("digits").test`.
        y: their labels: integers, whole floats or one-hot rows; None if `x` contains them.
        attacks: names such as `pgd-20`, `autoattack` and `transfer:PATH`, or `agkd_tf.attacks.Attack`s.
        **settings: settings of `EvaluationSession`, such as `eps`, `norm`, `num_examples`, `batch_size`, `seed`, and
            `folder`, where results are recorded as they are computed, and reused by later calls.

    Raises:
        InputError: for an invalid argument; the message is one line.
    """
    return EvaluationSession(model, x, y, **settings).accuracies(attacks)


def audit(
    model: Any, x: Any, y: Any = None, *, examples: int = AUDITED, attacks: Attacks = (), **settings: Any
) -> Audit:
    """Looks for signs of masked gradients in a model: reasons to distrust its accuracy. The result prints as a list.

        print(agkd_tf.audit(model, x_test, y_test, eps=8 / 255))

    Args:
        model, x, y, **settings: as for `evaluate`.
        examples: examine the first N images; a few hundred are enough.
        attacks: a transfer attack, such as `transfer:PATH`, whose source serves the sign that compares with transfer.

    Raises:
        InputError: for an invalid argument; the message is one line.
    """
    return EvaluationSession(model, x, y, **settings).audit(examples, attacks)
