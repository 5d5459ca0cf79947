"""The attention maps that can be distilled into a student, by name."""

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
    """A kind of attention map, computed in the same way for the student and for its teacher.

    Attributes:
        draw: callable (features float32 [B, h, w, K], `Classifier`, classes int32 [B]) -> float32
            [B, h, w] in [0, 1].
        choose: callable (student's logits of the adversarial images [B, n], their true labels [B]) ->
            int32 [B], the classes that `draw` gets for both networks.
        check: callable (`Classifier`) that raises an error for a classifier that `draw` does not support.
    """

    draw: Callable[[tf.Tensor, Classifier, tf.Tensor], tf.Tensor]
    choose: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = lambda logits, labels: labels
    check: Callable[[Classifier], None] = lambda classifier: None


def _grad_cam(features: tf.Tensor, classifier: Classifier, classes: tf.Tensor) -> tf.Tensor:
    return normalize_map(grad_cam(features, classifier.head, classes))


def _top_class(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return tf.argmax(logits, axis=1, output_type=tf.int32)


# Class-irrelevant maps: the paper's, and the average of all classes' maps, with or without normalising each first.
# Class-relevant maps: of the true class; of the wrong class that the student sees in the adversarial image, which is
# its top class other than the true one; and of its top class, right or wrong. Source: AGKD-BML's supplement, section 3.
# It names four maps, but leaves open what is averaged, and which class counts as wrong if the adversarial image does
# not fool the student: hence the two variants of each.
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
    """Returns the attention maps of the student on clean and adversarial images, and of the teacher on clean images.

    A class-relevant map uses the same class as in training, chosen by the student's logits of the adversarial images.

    Args:
        attention: a name in `ATTENTION_MAPS`.
        student: `agkd_tf.models.Classifier`.
        clean, adversaries: float32 [B, H, W, C] in [0, 1].
        labels: int32 [B], the true classes.
        teacher: `Classifier`, or None.

    Returns:
        (a dict that maps "teacher, clean" (if there is a teacher), "student, clean" and "student, adversary" to
        float32 [B, h, w] in [0, 1]; the student's logits of the adversarial images [B, n]).
    """
    kind, outputs = ATTENTION_MAPS[attention], student(adversaries)
    classes = kind.choose(outputs.logits, labels)
    maps = {} if teacher is None else {"teacher, clean": kind.draw(teacher(clean).features, teacher, classes)}
    maps["student, clean"] = kind.draw(student(clean).features, student, classes)
    maps["student, adversary"] = kind.draw(outputs.features, student, classes)
    return maps, outputs.logits


def comparable(teacher: Classifier | None, student: Classifier) -> Classifier | None:
    """Returns the teacher if it has attention maps of the student's size, else None.

    A teacher whose predictions are distilled may have others, or none.

    Args:
        teacher: `agkd_tf.models.Classifier`, or None.
        student: `Classifier` with a feature map.
    """
    if teacher is None or not teacher.shows_features or teacher.map_shape != student.map_shape:
        return None
    return teacher
