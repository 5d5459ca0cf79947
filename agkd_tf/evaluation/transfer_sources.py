"""Sources of transfer attacks: other networks on which the adversaries for the model are crafted."""

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
    """The sources of attacks named `transfer:PATH`, each read once and checked against the model.

    Args:
        subject: the model that the adversaries are evaluated on.
        examples: the images to attack.
        num_classes: number of classes of the model.
        attack: name of the attack on the sources.
        settings: how to read networks from paths; see `subject_at`.
        recorded: whether results are recorded; a record must be able to identify the source.
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
        """Checks the source of a transfer attack; returns the attack with a digest that identifies the source.

        Raises:
            InputError: if the source does not classify such images, or a record could not identify it.
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
                f"`attacks`: the source of {attack.name} is a callable, which a record cannot identify: give it a "
                "`source_digest`"
            )
        return dataclasses.replace(attack, source_digest=digest)

    def attack_by(self, name: str, ball: Ball) -> TransferAttack:
        """Returns the transfer attack for a name, `transfer:PATH`, with adversaries in a ball.

        Raises:
            InputError: if there is no such source, it does not fit the model, or `transfer_attack` is not one attack.
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
            raise InputError(f"`transfer_attack` must be a single attack. Received: {by}")
        name += "" if by == TRANSFER_ATTACK else f" by {by}"
        return TransferAttack(source.logits, crafted.attacks[0], source.digest, named=name)

    def _source(self, name: str, path: str) -> Subject:
        try:
            source = subject_at("attacks", path, **self._settings)
        except InputError as error:  # its remedy is for the evaluated network; change it to one for the source
            message = str(error).replace("agkd_tf.adapt(model, ", "agkd_tf.adapt(source, ")
            raise InputError(re.sub(r"`(pixel_|mean|std|channels)", r"`source_\1", message)) from error
        origin, own = self._examples.origin, self._subject.class_names
        if source.num_classes == self._num_classes:
            source = source.numbered_by("attacks", own)
        taken = [(each or self._examples.images.shape[1:]) for each in (source.image_shape, self._subject.image_shape)]
        taken = list(zip(taken, (source.num_classes, self._num_classes), strict=True))
        if taken[0] != taken[1]:
            raise InputError(
                f"`attacks`: {name} must have the model's image shape and number of classes, {taken[1]}. "
                f"Received: {taken[0]}"
            )
        if own is None and origin is not None:
            names = read_class_names("attacks", path)
            if names is not None and not same_names(names, origin.class_names):
                raise InputError(
                    f"`attacks`: {name} has other class names than the data, or the same in another order. The model "
                    "has no class names, so the order of the data is assumed for it"
                )
        return source
