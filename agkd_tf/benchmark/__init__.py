"""What defenses and networks cost: time, memory, operations, images a second, on the machine at hand."""

from agkd_tf.benchmark.cost import Cost
from agkd_tf.benchmark.floating_point import forward_flops, minimum_flops, program_flops
from agkd_tf.benchmark.inference import InferenceBenchmark
from agkd_tf.benchmark.matrix_product import MatrixProduct
from agkd_tf.benchmark.peak_memory import peak_memory, reset_peak_memory
from agkd_tf.benchmark.peer import Peer
from agkd_tf.benchmark.profile import StepProfile, run_one_operation_at_a_time
from agkd_tf.benchmark.step_program import StepProgram
from agkd_tf.benchmark.timing import Timing, ratio, take_turns
from agkd_tf.benchmark.training import TrainingBenchmark
from agkd_tf.benchmark.worker import CrashedWorkerError, Worker

__all__ = [
    "Cost",
    "CrashedWorkerError",
    "InferenceBenchmark",
    "MatrixProduct",
    "Peer",
    "StepProfile",
    "StepProgram",
    "Timing",
    "TrainingBenchmark",
    "Worker",
    "forward_flops",
    "minimum_flops",
    "peak_memory",
    "program_flops",
    "ratio",
    "reset_peak_memory",
    "run_one_operation_at_a_time",
    "take_turns",
]
