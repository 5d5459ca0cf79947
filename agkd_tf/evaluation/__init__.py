"""Evaluation: accuracies under attack, with what it takes to believe them."""

from agkd_tf.evaluation.accuracy import Result, evaluate
from agkd_tf.evaluation.interval import wilson_interval
from agkd_tf.evaluation.record import EvaluationRecord, file_digest

__all__ = ["EvaluationRecord", "Result", "evaluate", "file_digest", "wilson_interval"]
