"""What the defenses with a frozen teacher share."""

import abc
from typing import Any

import keras

from agkd_tf.defenses.adversarial_defense import AdversarialDefense
from agkd_tf.defenses.defense import Tensors
from agkd_tf.errors import InputError
from agkd_tf.models import Classifier


class Guided(AdversarialDefense, abc.ABC):
    """Base class of the defenses that a frozen teacher guides.

    The teacher runs in inference mode. A subclass calls `take_teacher` in its constructor, and `teach` in its `craft`.

    Attributes:
        teacher: the frozen network.
        guide: its `Classifier`.
    """

    guide: Classifier
    needs = frozenset({"teacher"})

    def take_teacher(self, teacher: keras.Model, *, with_features: bool = False) -> None:
        """Freezes a teacher, and keeps it.

        Args:
            teacher: `keras.Model`. The student's layer names apply to it, too, where it has layers of these names.
            with_features: whether it must have a feature map.

        Raises:
            InputError: if it is no model or not one that can be used, is the student itself, or has other classes or
                images than the student.
        """
        if not isinstance(teacher, keras.Model):
            raise InputError(f"`teacher` must be a keras.Model, the network to learn from. Received: {teacher!r}")
        teacher.trainable = False
        self.teacher = teacher
        self.guide = _guide(teacher, self.classifier.layer_names, with_features=with_features)
        _check_pair(self.classifier, self.guide)

    @abc.abstractmethod
    def teach(self, crafted: Tensors) -> Any:
        """Returns what the loss needs of the teacher: a tensor, or several by name.

        Args:
            crafted: the images that `craft` returns, by name.
        """

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "teacher": keras.saving.serialize_keras_object(self.teacher)}


def frozen_copy(model: keras.Model) -> keras.Model:
    """Returns a copy of a network that is not trained."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    copy.trainable = False
    return copy


def _guide(teacher: keras.Model, layer_names: dict[str, str | None], *, with_features: bool) -> Classifier:
    """Returns the `Classifier` of a teacher, with the student's layer names where the teacher has such layers."""
    try:
        guide = Classifier(teacher)
        names = {part: name for part, name in layer_names.items() if name and guide.has_layer(name)}
        guide = Classifier(teacher, **names) if names else guide
        if with_features:
            guide.check_features()
    except InputError as error:
        raise InputError(f"`teacher`: {error}") from error
    return guide


def _check_pair(student: Classifier, teacher: Classifier) -> None:
    shared = {id(weight) for weight in student.model.weights} & {id(weight) for weight in teacher.model.weights}
    if shared:
        raise InputError("`teacher` shares weights with the student, so it could not stay frozen: give a copy")
    if teacher.num_classes != student.num_classes:
        raise InputError(f"`teacher` has {teacher.num_classes} classes, the student {student.num_classes}")
    if teacher.image_shape != student.image_shape:
        raise InputError(f"`teacher` takes images {teacher.image_shape}, the student {student.image_shape}")
