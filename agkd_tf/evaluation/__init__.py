"""Evaluation: accuracies under attack, with the checks and records that make them credible."""

from agkd_tf.evaluation.adapters import logits_of_pixels, logits_of_probabilities, saved_model_logits
from agkd_tf.evaluation.adversaries import (
    VerificationError,
    create_adversaries,
    open_adversaries,
    unwritten,
    verify_adversaries,
)
from agkd_tf.evaluation.adversary_pngs import AdversaryPNGs, check_png_shape, write_pngs
from agkd_tf.evaluation.audit import SIGNS, Audit, Sign, masked_gradient_signs
from agkd_tf.evaluation.checks import check_classifier, check_images, check_logits, check_probabilities
from agkd_tf.evaluation.digests import file_digest, network_digest, saved_model_digest
from agkd_tf.evaluation.eps_sweep import EpsSweep
from agkd_tf.evaluation.evaluate import audit, evaluate
from agkd_tf.evaluation.examples import examples_of
from agkd_tf.evaluation.key import Key
from agkd_tf.evaluation.neighbors import NeighborAccuracies
from agkd_tf.evaluation.options import EvaluationOptions
from agkd_tf.evaluation.outcome import Outcome, Outcomes
from agkd_tf.evaluation.record import EvaluationRecord, read_evaluation
from agkd_tf.evaluation.result import Accuracy, AttackResult, Evaluation, WorstCase, worst_case
from agkd_tf.evaluation.run_attack import run_attack
from agkd_tf.evaluation.session import EvaluationSession
from agkd_tf.evaluation.subject import Subject, subject_at, subject_of
from agkd_tf.intervals import mean_interval, wilson_interval

__all__ = [
    "SIGNS",
    "Accuracy",
    "AdversaryPNGs",
    "AttackResult",
    "Audit",
    "EpsSweep",
    "Evaluation",
    "EvaluationOptions",
    "EvaluationRecord",
    "EvaluationSession",
    "Key",
    "NeighborAccuracies",
    "Outcome",
    "Outcomes",
    "Sign",
    "Subject",
    "VerificationError",
    "WorstCase",
    "audit",
    "check_classifier",
    "check_images",
    "check_logits",
    "check_png_shape",
    "check_probabilities",
    "create_adversaries",
    "evaluate",
    "examples_of",
    "file_digest",
    "logits_of_pixels",
    "logits_of_probabilities",
    "masked_gradient_signs",
    "mean_interval",
    "network_digest",
    "open_adversaries",
    "read_evaluation",
    "run_attack",
    "saved_model_digest",
    "saved_model_logits",
    "subject_at",
    "subject_of",
    "unwritten",
    "verify_adversaries",
    "wilson_interval",
    "worst_case",
    "write_pngs",
]
