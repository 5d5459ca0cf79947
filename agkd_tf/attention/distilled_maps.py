"""The attention maps that a student can be taught, by name."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from agkd_tf.attention.class_average import class_average_map, mean_class_map
from agkd_tf.attention.class_irrelevant import class_irrelevant_map
from agkd_tf.attention.grad_cam import grad_cam
from agkd_tf.attention.normalization import normalize_map
from agkd_tf.logits import most_confusing_class
from agkd_tf.models import Classifier


@dataclasses.dataclass(frozen=True)
class AttentionMap:
    """A kind of attention map, drawn alike for the student and for its teacher.

    Attributes:
        draw: callable (features float32 [B, h, w, K], `Classifier`, classes int32 [B]) -> float32
            [B, h, w] in [0, 1].
        choose: callable (student's logits of the adversaries [B, n], their true labels [B]) -> int32
            [B], the classes that `draw` is given for both networks.
        check: callable (`Classifier`), which refuses one that `draw` cannot read.
    """

    draw: Callable[[tf.Tensor, Classifier, tf.Tensor], tf.Tensor]
    choose: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = lambda logits, labels: labels
    check: Callable[[Classifier], None] = lambda classifier: None


def _grad_cam(features: tf.Tensor, classifier: Classifier, classes: tf.Tensor) -> tf.Tensor:
    return normalize_map(grad_cam(features, classifier.head, classes))


def _top_class(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return tf.argmax(logits, axis=1, output_type=tf.int32)


# Class-irrelevant maps: the paper's, and the average of all classes' maps, each normalised first or not. Class-relevant
# ones: of the true class; of the class that the student falsely sees in the adversary, its top class but the true one;
# and of its top class whatever that is. Source: AGKD-BML's supplement, section 3, which names four and leaves open what
# is averaged and what the false class of an adversary is that does not fool: hence the two variants.
ATTENTION_MAPS = {
    "agkd": AttentionMap(lambda features, classifier, classes: class_irrelevant_map(features)),
    "cam_avg": AttentionMap(
        lambda features, classifier, classes: class_average_map(features, classifier.head_kernel),
        check=Classifier.check_pooled_dense,
    ),
    "cam_avg_raw": AttentionMap(
        lambda features, classifier, classes: mean_class_map(features, classifier.head_kernel),
        check=Classifier.check_pooled_dense,
    ),
    "gradcam_orig": AttentionMap(_grad_cam, check=Classifier.check_head),
    "gradcam_false": AttentionMap(_grad_cam, choose=most_confusing_class, check=Classifier.check_head),
    "gradcam_top": AttentionMap(_grad_cam, choose=_top_class, check=Classifier.check_head),
}


def compared_maps(
    attention: str,
    student: Classifier,
    clean: tf.Tensor,
    adversaries: tf.Tensor,
    labels: tf.Tensor,
    *,
    teacher: Classifier | None = None,
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Returns what student and teacher look at, clean and under attack.

    The class of a class-relevant map is the one of training: chosen by the student's logits of the adversaries.

    Args:
        attention: a name of `ATTENTION_MAPS`.
        student: `agkd_tf.models.Classifier`.
        clean, adversaries: float32 [B, H, W, C] in [0, 1].
        labels: int32 [B], the true classes.
        teacher: `Classifier`, or None.

    Returns:
        (dict of "teacher, clean" where there is one, "student, clean" and "student, adversary" -> float32 [B, h, w]
        in [0, 1], the student's logits of the adversaries [B, n]).
    """
    kind, outputs = ATTENTION_MAPS[attention], student(adversaries)
    classes = kind.choose(outputs.logits, labels)
    maps = {} if teacher is None else {"teacher, clean": kind.draw(teacher(clean).features, teacher, classes)}
    maps["student, clean"] = kind.draw(student(clean).features, student, classes)
    maps["student, adversary"] = kind.draw(outputs.features, student, classes)
    return maps, outputs.logits
