"""Measures what training and inference cost on the machine at hand: time, memory and images per second."""

from agkd_tf.benchmark.cost import Cost
from agkd_tf.benchmark.inference import InferenceBenchmark
from agkd_tf.benchmark.peak_memory import peak_memory, reset_peak_memory
from agkd_tf.benchmark.timing import Timing, ratio, take_turns
from agkd_tf.benchmark.training import TrainingBenchmark
from agkd_tf.benchmark.worker import CrashedWorkerError, Worker

__all__ = [
    "Cost",
    "CrashedWorkerError",
    "InferenceBenchmark",
    "Timing",
    "TrainingBenchmark",
    "Worker",
    "peak_memory",
    "ratio",
    "reset_peak_memory",
    "take_turns",
]
