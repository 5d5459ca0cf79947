"""Decides whether two records belong to the same model, data and images."""

from collections.abc import Mapping
from typing import Any

FILE, NETWORK, NAME = "model_sha256", "network_sha256", "model_name"
DATA = ("dataset", "image_size", "train_examples", "validation_examples")


def same_subject(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Returns whether two records belong to the same model and do not name different data.

    Two models are the same if their networks are (`network_sha256`); or if their files (`model_sha256`) or their given
    names (`model_name`) are, and they are read with the same settings. If only one record names the data, that does not
    count: each result states its own images.

    Args:
        one, other: `subject` of an `EvaluationRecord`, as JSON stores it.
    """
    if one == other:
        return True
    return _same_model(one, other) and _same_data(one, other)


def _same_model(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if NETWORK in one and one[NETWORK] == other.get(NETWORK):
        return True
    named = next((name for name in (FILE, NAME) if name in one and name in other), None)
    left_out = {FILE, NETWORK, *DATA} - {named}
    settings = [{name: value for name, value in each.items() if name not in left_out} for each in (one, other)]
    return named is not None and settings[0] == settings[1]


def _same_data(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if DATA[0] not in one or DATA[0] not in other:
        return True
    return all(one.get(name) == other.get(name) for name in DATA)


def same_description(one: Any, other: Any) -> bool:
    """Returns whether two descriptions of adversaries have the same subject, attack, seed and images.

    Args:
        one, other: what `EvaluationRecord.described` returns, as JSON stores it; other values must simply be equal.
    """
    if one == other:
        return True
    if not all(isinstance(each, dict) and {"subject", "examples"} <= each.keys() for each in (one, other)):
        return False
    rest = [{name: each[name] for name in each.keys() - {"subject", "examples"}} for each in (one, other)]
    images = [each["examples"].get("sha256") for each in (one, other)]
    return rest[0] == rest[1] and images[0] == images[1] and same_subject(one["subject"], other["subject"])
