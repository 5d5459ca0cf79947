"""`agkd_tf.evaluate` and `agkd_tf.audit`: accuracies under attack in one call, and reasons to distrust them."""

from typing import Any

from agkd_tf.evaluation.audit import Audit
from agkd_tf.evaluation.result import Evaluation
from agkd_tf.evaluation.session import ATTACKS, AUDITED, Attacks, EvaluationSession


def evaluate(model: Any, x: Any, y: Any = None, *, attacks: Attacks = ATTACKS, **settings: Any) -> Evaluation:
    """Returns the accuracies of a model under attacks; it prints as a table, as the command line's does.

        result = agkd_tf.evaluate(model, x_test, y_test, attacks=["clean", "pgd-20", AutoAttack()], eps=8 / 255)
        print(result)
        result["autoattack"].accuracy, result["autoattack"].interval, result.worst_case.correct

    Args:
        model: a `keras.Model` or a defense; the path of a run's folder, a `.keras` or `.h5` file, or a SavedModel; or
            a callable, float32 images [B, H, W, C] in [0, 1] -> float32 logits [B, n]. A model of other pixels is
            adapted first (`agkd_tf.adapt`); a path may take `pixel_range`, `mean`, `std` and `channels` instead.
        x: images [N, H, W, C], uint8 or float in [0, 1], as an array, a tensor or a list; a `tf.data.Dataset` of images
            and labels; or a split, such as `load_dataset("digits").test`.
        y: their labels: integers, whole floats or one-hot rows; None where `x` has them.
        attacks: names such as `pgd-20`, `autoattack` and `transfer:PATH`, or `agkd_tf.attacks.Attack`s.
        **settings: those of `EvaluationSession`, among them `eps`, `norm`, `num_examples`, `batch_size`, `seed`, and
            `folder`, in which results are recorded as they come, and found again.

    Raises:
        InputError: for what is not understood, in one line.
    """
    return EvaluationSession(model, x, y, **settings).accuracies(attacks)


def audit(
    model: Any, x: Any, y: Any = None, *, examples: int = AUDITED, attacks: Attacks = (), **settings: Any
) -> Audit:
    """Returns the signs of masked gradients of a model: reasons to distrust an accuracy. It prints as a list.

        print(agkd_tf.audit(model, x_test, y_test, eps=8 / 255))

    Args:
        model, x, y, **settings: as `evaluate`.
        examples: first so many images to look at; a few hundred are enough.
        attacks: a transfer, whose source is another network, for the sign that needs one.

    Raises:
        InputError: for what is not understood, in one line.
    """
    return EvaluationSession(model, x, y, **settings).audit(examples, attacks)
