"""Base class of all defenses, and what each of them defines."""

import abc
import textwrap
from typing import Annotated, Any, ClassVar, Literal

import keras
import tensorflow as tf

from agkd_tf.attacks import Ball, Norm
from agkd_tf.data.augmentation import AUGMENTATIONS
from agkd_tf.data.class_pool import ClassPool
from agkd_tf.defenses.student_model import StudentModel
from agkd_tf.errors import InputError
from agkd_tf.models import Classifier
from agkd_tf.settings import LARGEST, Choice, Radius, Range, Share, Weight, checked, describe, settings_of

Tensors = dict[str, tf.Tensor]
LabelSmoothing = Annotated[Share, "Label smoothing: mass taken from the true class."]
EPS = 8 / 255  # in l_inf


class Defense(StudentModel, abc.ABC):
    """Base class of all defenses: a Keras model whose `fit` trains a student.

    A defense defines three things: `craft` returns the tensors that carry no gradient (adversarial images, the
    teacher's maps), `loss_terms` returns the terms of the loss as scalars, and `term_weights` returns their weights.
    `agkd_tf.defenses.training_step` does the rest.

    In the formulas of defenses, f(x) are logits, float32 [B, n], p(x) is their softmax, and CE_s is the cross-entropy
    whose target is 1 - s for the true class and s / (n - 1) for each other; means are over the batch. Each of several
    replicas takes its means over its own part of the batch, and so does BN with its statistics, unless it is
    synchronised; after each step, the moving statistics are averaged over the replicas.

    The arguments whose annotations hold a text are the defense's settings (see `agkd_tf.settings`). They are checked,
    kept as attributes, saved in `.keras` files, and become flags of the command lines. A subclass adds its own in the
    same way:

        @keras.saving.register_keras_serializable(package="mine")
        class Flat(agkd_tf.AdversarialTraining):
            def __init__(self, student, *, flatness: Annotated[Weight, "Weight of flat logits."] = 0.1, **kwargs):
                super().__init__(student, **kwargs)

            @property
            def term_weights(self):
                return super().term_weights | {"flatness": self.flatness}

            def loss_terms(self, crafted, labels):
                terms, logits = super().loss_terms(crafted, labels)
                return terms | {"flatness": tf.reduce_mean(tf.square(logits))}, logits

    Args:
        student: functional `keras.Model` from images in [0, 1], NHWC, to logits; trained in place.
        layer_names: names of the student's `features`, `embedding` and `logits` layers, where they
            are not detected automatically (see `Classifier`).
        name: name of the model.

    Raises:
        InputError: for a value out of range, or a student whose structure is not supported.
    """

    # How many images the training-mode passes see per image of a batch; used to estimate memory.
    training_images: ClassVar[int] = 1
    # What a run has to give it: "teacher", a frozen classifier; "pool", a `ClassPool` of the training images;
    # "num_examples", the number of training images; "num_steps", the number of steps of the whole training.
    needs: ClassVar[frozenset[str]] = frozenset()
    # Whether the teacher has to be robust, so that a run must be given one instead of training a clean one first.
    teacher_is_robust: ClassVar[bool] = False
    # Whether a run starts the student from a clean teacher's weights by default.
    starts_from_teacher: ClassVar[bool] = False
    # The `Classifier` of the frozen teacher, if there is one.
    guide: Classifier | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            setattr(cls, "__init__", checked(cls.__init__))  # noqa: B010  mypy rejects an assignment
        if cls.__doc__:
            lines = textwrap.indent(describe(settings_of(cls).values()), 8 * " ")
            cls.__doc__ = f"{cls.__doc__.rstrip()}\n\n    Settings:\n{lines}\n"

    @checked
    def __init__(
        self,
        student: keras.Model,
        *,
        eps: Annotated[Radius, "Radius of the ball that perturbations stay in."] = EPS,
        norm: Annotated[Norm, "Norm of the ball."] = "linf",
        augmentation: Annotated[str, Choice(AUGMENTATIONS), "Augmentation of training images."] = "none",
        weight_decay: Annotated[
            Weight, "wd: adds wd * w to the gradient of each weight w, as PyTorch's SGD does."
        ] = 0.0,
        weight_decay_on: Annotated[
            Literal["all", "kernels"], "Weights that decay: all trainable ones, or kernels only."
        ] = "all",
        awp_gamma: Annotated[
            Weight,
            "Adversarial weight perturbation (AWP): size of the step, relative to each kernel, to weights of higher "
            "loss, at which the gradient is taken; 0 for none.",
        ] = 0.0,
        awp_start: Annotated[
            int, Range(0, LARGEST), "Training step, counted from 0, from which the weights are perturbed."
        ] = 0,
        validation_attack_steps: Annotated[
            int, Range(0, LARGEST), "Steps of the PGD attack that measures val_robust_accuracy; 0 for no attack."
        ] = 10,
        seed: Annotated[int, Range(0, LARGEST), "Seed of all randomness in training."] = 0,
        layer_names: dict[str, str] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(student, layer_names=layer_names, validation_attack_steps=validation_attack_steps, name=name)
        check_ball(norm, eps)
        if awp_start and not awp_gamma:
            raise InputError("`awp_start` has no effect without perturbation: give `awp_gamma=0.005`")
        self._pool: ClassPool | None = None

    @property
    def ball(self) -> Ball:
        """The ball that adversarial images stay in."""
        return Ball(self.norm, self.eps)

    @property
    def term_weights(self) -> dict[str, float]:
        """The weight of each term of the loss, by its name."""
        return {"cross_entropy": 1.0}

    @property
    def memory(self) -> dict[str, keras.Variable]:
        """What is stored per training example between epochs: variables [N, ...] by name.

        `craft` gets the rows of a batch as keyword arguments, and what it returns under the same names
        replaces them.
        """
        return {}

    @abc.abstractmethod
    def craft(self, clean: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> Tensors:
        """Returns a dict of tensors that the loss needs and that carry no gradient.

        Args:
            clean: float32 [B, H, W, C] in [0, 1], augmented.
            labels: int32 [B].
            seed: int32 [2], the seed of this step.
        """

    @abc.abstractmethod
    def loss_terms(self, crafted: dict[str, tf.Tensor], labels: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Returns (terms, logits): float32 scalars by the names of `term_weights`, before weighting, and
        the training-mode logits [B, n] that `train_accuracy` is measured on.

        Args:
            crafted: what `craft` returned.
            labels: int32 [B].
        """

    @property
    def pool(self) -> ClassPool | None:
        """`agkd_tf.data.ClassPool` that second images are drawn from, or None; it is not saved in files."""
        return self._pool

    @pool.setter
    def pool(self, pool: ClassPool | None) -> None:
        if pool is not None:
            if not isinstance(pool, ClassPool):
                raise InputError(f"`pool` must be a ClassPool of the training images. Received: {type(pool).__name__}")
            if pool.num_classes != self.classifier.num_classes:
                raise InputError(f"`pool` has {pool.num_classes} classes, the student {self.classifier.num_classes}")
            if not tf.TensorShape(pool.image_shape).is_compatible_with(self.classifier.image_shape):
                wanted = self.classifier.image_shape
                raise InputError(f"`pool` has images {pool.image_shape}, the student takes {wanted}")
        self._pool = pool

    @property
    def needed_pool(self) -> ClassPool:
        """The pool of a defense that cannot train without one.

        Raises:
            InputError: if the defense has none.
        """
        if self._pool is None:
            raise InputError(
                f"{type(self).__name__} needs `pool`, a ClassPool of the training images, to train: defense.pool = "
                f"ClassPool(images, labels, num_classes={self.classifier.num_classes})"
            )
        return self._pool

    def check_needs(self) -> None:
        """Checks that the defense has all that it needs for training.

        Raises:
            InputError: if it draws second images and has no pool.
        """
        if "pool" in self.needs:
            _ = self.needed_pool

    def checkpointed(self) -> dict[str, Any]:
        """Returns the trackable objects that a resumed run must restore, by name."""
        return {"student": self.student, "optimizer": self.optimizer, "step": self.step, **self.memory}

    def get_config(self) -> dict[str, Any]:
        """Returns the settings, the student and, if there is one, the teacher, for `from_config` and `.keras` files."""
        return {
            "name": self.name,
            "student": keras.saving.serialize_keras_object(self.student),
            "layer_names": self.classifier.layer_names,
            **{name: getattr(self, name) for name in settings_of(type(self))},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Defense":
        """Returns the defense that `get_config` described, with fresh weights."""
        networks = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("student", "teacher")
            if config.get(name) is not None
        }
        return cls(**{**config, **networks})


def check_ball(norm: Norm, eps: float) -> Ball:
    """Returns the `Ball` that training attacks stay in.

    Raises:
        InputError: for an invalid radius, or for another norm than l_inf with the default radius, which is for l_inf.
    """
    if norm != "linf" and eps == EPS:
        raise InputError(f"`norm={norm!r}` needs `eps`, the radius in that norm: the default, 8/255, is for linf")
    return Ball(norm, eps)
