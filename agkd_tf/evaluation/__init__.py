"""Evaluation: accuracies under attack, with what it takes to believe them."""

from agkd_tf.evaluation.accuracy import Result, evaluate
from agkd_tf.evaluation.adapters import logits_of_pixels, logits_of_probabilities, saved_model_logits
from agkd_tf.evaluation.adversaries import (
    VerificationError,
    create_adversaries,
    open_adversaries,
    unwritten,
    verify_adversaries,
)
from agkd_tf.evaluation.adversary_pngs import AdversaryPNGs, check_png_shape, write_pngs
from agkd_tf.evaluation.audit import SIGNS, Sign, audit
from agkd_tf.evaluation.checks import check_classifier, check_images, check_logits, check_probabilities
from agkd_tf.evaluation.digests import file_digest, saved_model_digest
from agkd_tf.evaluation.interval import mean_interval, wilson_interval
from agkd_tf.evaluation.outcome import Outcome, Outcomes
from agkd_tf.evaluation.record import EvaluationRecord, read_evaluation
from agkd_tf.evaluation.worst_case import worst_case

__all__ = [
    "SIGNS",
    "AdversaryPNGs",
    "EvaluationRecord",
    "Outcome",
    "Outcomes",
    "Result",
    "Sign",
    "VerificationError",
    "audit",
    "check_classifier",
    "check_images",
    "check_logits",
    "check_png_shape",
    "check_probabilities",
    "create_adversaries",
    "evaluate",
    "file_digest",
    "logits_of_pixels",
    "logits_of_probabilities",
    "mean_interval",
    "open_adversaries",
    "read_evaluation",
    "saved_model_digest",
    "saved_model_logits",
    "unwritten",
    "verify_adversaries",
    "wilson_interval",
    "worst_case",
    "write_pngs",
]
