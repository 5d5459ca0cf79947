"""What this project measures itself with: a training step taken apart, counted, and timed beside those of others.

Not part of what is installed. `parity` is a command line, which compares attacks with another implementation's; `peers`
holds the scripts of the others, which need environments of their own.
"""

from tools.laboratory.breakdown import BreakdownBenchmark
from tools.laboratory.floating_point import minimum_flops, program_flops
from tools.laboratory.matrix_product import MatrixProduct
from tools.laboratory.peer import Peer
from tools.laboratory.profile import StepProfile, run_one_operation_at_a_time
from tools.laboratory.step_program import StepProgram

__all__ = [
    "BreakdownBenchmark",
    "MatrixProduct",
    "Peer",
    "StepProfile",
    "StepProgram",
    "minimum_flops",
    "program_flops",
    "run_one_operation_at_a_time",
]
