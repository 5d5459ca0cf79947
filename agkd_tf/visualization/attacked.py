"""The images of a figure: a model's images under an attack."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from agkd_tf.attacks import Attack, AttackSequence, Ball, bound
from agkd_tf.compilation import JitCompile, resolve_jit_compile
from agkd_tf.data import Examples
from agkd_tf.errors import InputError, check_choice, check_eps
from agkd_tf.evaluation import Outcome, Subject, run_attack
from agkd_tf.models import Classifier
from agkd_tf.perturbation_size import format_size
from agkd_tf.progress import Mode, Progress


@dataclasses.dataclass(frozen=True)
class Crafting:
    """Settings for crafting the adversaries of a figure.

    Attributes:
        attack: a name, an attack or a sequence; see `agkd_tf.attacks.bound`.
        eps: radius of the l_inf ball.
        batch_size: images per step.
        seed: seed of the attack.
        jit_compile: compile with XLA.
        progress: how progress is shown.
    """

    attack: str | Attack | AttackSequence
    eps: float
    batch_size: int
    seed: int
    jit_compile: JitCompile
    progress: Mode

    def __post_init__(self) -> None:
        check_eps("eps", self.eps)
        check_choice("progress", self.progress, get_args(Mode))

    @property
    def name(self) -> str:
        """The attack's name."""
        return self.attack if isinstance(self.attack, str) else self.attack.name

    @property
    def file_name(self) -> str:
        """The attack's name in a form that is safe in a file name."""
        return file_name(self.name)

    @property
    def ball(self) -> str:
        """The ball as text."""
        return f"l_inf eps {format_size(self.eps)}"

    def adversaries(
        self, subject: Subject, examples: Examples, *, attack: str | Attack | AttackSequence | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns (adversaries float32 [N, H, W, C] in [0, 1], the model's predictions on them int16 [N]).

        Args:
            subject: the model.
            examples: its images.
            attack: an attack to use instead of the figure's, or None.
        """
        sequence = bound(attack or self.attack, Ball("linf", self.eps), subject.num_classes)
        outcome, adversaries = Outcome.fresh(len(examples)), np.empty(examples.images.shape, np.float32)
        run_attack(
            subject.logits,
            examples,
            sequence,
            batch_size=self.batch_size,
            seed=self.seed,
            jit_compile=resolve_jit_compile(self.jit_compile),
            outcome=outcome,
            adversaries=adversaries,
            progress=Progress(self.progress).of_attack(sequence.name),
        )
        return adversaries, outcome.prediction

    def described(self, examples: Examples, count: int) -> dict[str, Any]:
        """Returns a dict for JSON that states what the numbers were measured on.

        Args:
            examples: images from which the attacked ones were chosen.
            count: number of attacked images.
        """
        attack = {"attack": self.name, "eps": self.eps, "seed": self.seed}
        dataset, split = (None, None) if examples.origin is None else examples.origin[:2]
        return attack | {"dataset": dataset, "split": split, "num_examples": count}


def file_name(text: str) -> str:
    """Returns a text in a form that is safe in a file name: an attack's name may hold a step size such as 1/255."""
    return text.replace("/", "_")


def classifier_of(argument: str, subject: Subject, part: Literal["features", "embedding"]) -> Classifier:
    """Returns the `Classifier` of a model, checked to give its feature map or embedding.

    Args:
        argument: name of the model in messages.
        subject: the model.
        part: the part that it must give.

    Raises:
        InputError: if it does not.
    """
    if subject.classifier is None:
        raise InputError(
            f"`{argument}` must be a Keras network, which has a feature map and an embedding. Received: {subject.path}"
        )
    try:
        subject.classifier.check_features() if part == "features" else subject.classifier.check_embedding()
    except InputError as error:
        raise InputError(f"`{argument}`: {subject.remedied(error)}") from error
    return subject.classifier


def shared_eps(argument: str, eps: float | None, subjects: Sequence[Subject]) -> float:
    """Returns the given radius; if none is given, the one that all models, which must be runs, were trained with.

    Raises:
        InputError: if none is given, and a model is not a run in l_inf, or the runs have different radii.
    """
    if eps is not None:
        return eps
    found: list[float] = []
    for each in subjects:
        own = each.own_ball
        if own is None:
            raise InputError("`eps`, the radius of the ball, is needed: `eps=8 / 255`, for images in [0, 1]")
        if own.norm != "linf":
            raise InputError(
                f"`{argument}`: {each.path} was trained in {own.norm}, but figures use attacks in linf: give `eps=SIZE`"
            )
        found.append(own.eps)
        if own.eps != found[0]:
            raise InputError(
                f"`{argument}`: {each.path} has eps {own.eps:g}, but {subjects[0].path} has {found[0]:g}: choose one "
                "with `eps=SIZE`"
            )
    return found[0]


def names_of_classes(given: Sequence[str] | None, examples: Examples, subject: Subject) -> tuple[str, ...]:
    """Returns a name for each class: the given names, else the data set's, else the model's, else numbers.

    Raises:
        InputError: if the number of given names is not the model's number of classes.
    """
    count = subject.num_classes or 0
    if given is not None:
        if isinstance(given, str) or len(given) != count:
            received = repr(given) if isinstance(given, str) else len(given)
            raise InputError(f"`class_names` must be {count} names, one per class of the model. Received: {received}")
        return tuple(map(str, given))
    known = (subject.class_names or ()) if examples.origin is None else examples.origin.class_names
    return (*known, *map(str, range(len(known), count)))
