"""The attention maps that a student can be taught, by name."""

import dataclasses
from collections.abc import Callable

from agkd_tf.attacks import most_confusing_class
from agkd_tf.attention.class_average import class_average_map
from agkd_tf.attention.class_irrelevant import class_irrelevant_map
from agkd_tf.attention.grad_cam import class_activation_map
from agkd_tf.attention.normalization import normalize_map


@dataclasses.dataclass(frozen=True)
class AttentionMap:
    """A kind of attention map, drawn alike for the student and for its teacher.

    Attributes:
        draw: callable (features float32 [B, h, w, K], `Classifier`, classes int32 [B]) -> float32
            [B, h, w] in [0, 1].
        choose: callable (student's logits of the adversaries [B, n], their true labels [B]) -> int32
            [B], the classes that `draw` is given for both networks.
        class_relevant: whether `draw` reads the classifier's last dense layer.
    """

    draw: Callable
    choose: Callable = lambda logits, labels: labels
    class_relevant: bool = True


def _grad_cam(features, classifier, classes):
    return normalize_map(class_activation_map(features, classifier.head_kernel, classes))


# Class-relevant maps of the true class, or of the class that the student falsely sees in the adversary:
# its top class but the true one. Source: AGKD-BML's supplement, section 3.
ATTENTION_MAPS = {
    "agkd": AttentionMap(lambda features, classifier, classes: class_irrelevant_map(features), class_relevant=False),
    "cam_avg": AttentionMap(lambda features, classifier, classes: class_average_map(features, classifier.head_kernel)),
    "gradcam_orig": AttentionMap(_grad_cam),
    "gradcam_false": AttentionMap(_grad_cam, choose=most_confusing_class),
}
