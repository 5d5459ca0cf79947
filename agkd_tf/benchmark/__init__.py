"""What defenses and networks cost: time, memory, images a second, on the machine at hand."""

from agkd_tf.benchmark.cost import Cost
from agkd_tf.benchmark.inference import InferenceBenchmark
from agkd_tf.benchmark.timing import Timing, ratio, take_turns
from agkd_tf.benchmark.training import TrainingBenchmark
from agkd_tf.benchmark.worker import Worker

__all__ = ["Cost", "InferenceBenchmark", "Timing", "TrainingBenchmark", "Worker", "ratio", "take_turns"]
