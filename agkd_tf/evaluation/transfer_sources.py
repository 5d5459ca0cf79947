"""Sources of transferred attacks: other networks, whose adversaries the model is shown."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from agkd_tf.attacks import Ball, TransferAttack, bound
from agkd_tf.data import Examples
from agkd_tf.data.class_names import same_names
from agkd_tf.errors import InputError
from agkd_tf.evaluation.checks import check_classifier
from agkd_tf.evaluation.options import TRANSFER_ATTACK
from agkd_tf.evaluation.subject import Subject, subject_at, subject_of
from agkd_tf.models.storage import read_class_names

TRANSFER = "transfer:"


class TransferSources:
    """The sources of the attacks called `transfer:PATH`, each read once and fitted to one model.

    Args:
        subject: the model that is shown the adversaries.
        examples: the images that are attacked.
        num_classes: the model's.
        attack: name of the attack on the sources.
        settings: how networks at paths are read; see `subject_at`.
        recorded: whether results are recorded, which must know their source.
    """

    def __init__(
        self,
        subject: Subject,
        examples: Examples,
        num_classes: int,
        *,
        attack: str,
        settings: Mapping[str, Any],
        recorded: bool,
    ) -> None:
        self._subject, self._examples, self._num_classes = subject, examples, num_classes
        self._attack, self._settings, self._recorded = attack, settings, recorded
        self._sources: dict[str, Subject] = {}

    def checked(self, attack: TransferAttack) -> TransferAttack:
        """Returns a transfer whose source is checked, and known to a record.

        Raises:
            InputError: if the source is no classifier of such images, or a record could not tell it from others.
        """
        try:
            check_classifier(attack.source, self._examples)
        except InputError as error:
            raise InputError(f"`attacks`: {attack.name}: {error}") from error
        if attack.source_digest:
            return attack
        digest = subject_of(attack.source).digest
        if not digest and self._recorded:
            raise InputError(
                f"`attacks`: the source of {attack.name} is a callable, which a record cannot tell from others: give "
                "it a `source_digest`"
            )
        return dataclasses.replace(attack, source_digest=digest)

    def attack_by(self, name: str, ball: Ball) -> TransferAttack:
        """Returns the transfer of a name, `transfer:PATH`, whose adversaries lie in a ball.

        Raises:
            InputError: if there is no such source, it does not fit the model, or the attack on it is not one.
        """
        path = name.removeprefix(TRANSFER)
        if path not in self._sources:
            self._sources[path] = self._source(name, path)
        source, by = self._sources[path], self._attack
        try:
            crafted = bound(by, ball, source.num_classes)
        except InputError as error:
            raise InputError(f"`transfer_attack`: {error}") from error
        if len(crafted.attacks) > 1:
            raise InputError(f"`transfer_attack` must be one attack, not several. Received: {by}")
        name += "" if by == TRANSFER_ATTACK else f" by {by}"
        return TransferAttack(source.logits, crafted.attacks[0], source.digest, named=name)

    def _source(self, name: str, path: str) -> Subject:
        try:
            source = subject_at("attacks", path, **self._settings)
        except InputError as error:  # which names what would be done with the network that is evaluated
            message = str(error).replace("agkd_tf.adapt(model, ", "agkd_tf.adapt(source, ")
            raise InputError(re.sub(r"`(pixel_|mean|std|channels)", r"`source_\1", message)) from error
        origin, own = self._examples.origin, self._subject.class_names
        if source.num_classes == self._num_classes:
            source = source.numbered_by("attacks", own)
        taken = [(each or self._examples.images.shape[1:]) for each in (source.image_shape, self._subject.image_shape)]
        taken = list(zip(taken, (source.num_classes, self._num_classes), strict=True))
        if taken[0] != taken[1]:
            raise InputError(f"`attacks`: {name} takes images and has classes {taken[0]}, the model {taken[1]}")
        if own is None and origin is not None:
            names = read_class_names("attacks", path)
            if names is not None and not same_names(names, origin.class_names):
                raise InputError(
                    f"`attacks`: {name} has other class names, or another order, than the data, whose order the model "
                    "without names is taken to have"
                )
        return source
