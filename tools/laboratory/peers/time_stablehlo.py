r"""Times a training step in StableHLO with JAX's XLA, on the accelerator that JAX finds.

It brings the compiled step to a GPU machine without TensorFlow. On any machine with this project:

  python -m tools.benchmark training flags/cifar10/agkd_bml.flags --dump_stablehlo=step.mlir --download

and with that file on the GPU's, in turn with the same step in PyTorch:

  python3 -m venv timer && timer/bin/pip install "jax[cuda12]"
  python3 -m venv peer && peer/bin/pip install torch
  timer/bin/python tools/laboratory/peers/time_stablehlo.py step.mlir
  peer/bin/python tools/laboratory/peers/training_step.py --depth=28 --width=10 --batch_size=128 --channels_last \
    --compile

--mixed_precision=bfloat16 of the first goes with --bfloat16 of the last. Both timers print what `tools.benchmark
--peer` reads. This one needs JAX alone (written with 0.10). The program has all of a step: augmentation, which
`training_step.py` is without, attack, teacher, passes, gradients and the optimizer's update. Random numbers of its own
types go in; neither putting them on the device nor reading batches is timed.
"""

import argparse
import pathlib
import statistics
import time

import jax
import numpy as np
from jax.extend import backend
from stablehlo_arguments import main_types, random_argument


class Arguments:
    """A program's arguments on the device. What a run gives its results the place of is put there anew."""

    def __init__(self, types, batch_size, device):
        generator = np.random.default_rng(0)
        self._host = [random_argument(*each, batch_size, generator) for each in types]
        self._device = device
        self._arrays = [jax.device_put(array, device) for array in self._host]

    def ready(self):
        """Returns the arrays, all of them there."""
        for place, array in enumerate(self._arrays):
            if array.is_deleted():
                self._arrays[place] = jax.device_put(self._host[place], self._device)
        return jax.block_until_ready(self._arrays)


def main():
    """Prints the median of the steps' seconds, seconds to compile, and peak memory where the device tells it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path, help="the program's text")
    parser.add_argument("--batch_size", type=int, help="images a step; those of the first argument if not given")
    for name, value in {"warmup": 3, "repeat": 8}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    flags = parser.parse_args()
    try:
        program = flags.file.read_text()
        types = main_types(program)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    jax.config.update("jax_enable_x64", True)  # int64 stays so
    batch_size = flags.batch_size or types[0][0][0]
    client = backend.get_backend()
    device = client.local_devices()[0]
    begun = time.perf_counter()
    step = client.compile_and_load(program, [device])
    compiled = time.perf_counter() - begun
    arguments, seconds = Arguments(types, batch_size, device), []
    for number in range(flags.warmup + flags.repeat):
        given, begun = arguments.ready(), time.perf_counter()
        jax.block_until_ready(step.execute(given))
        if number >= flags.warmup:
            seconds.append(time.perf_counter() - begun)
    median = statistics.median(seconds)
    peak = (device.memory_stats() or {}).get("peak_bytes_in_use")
    print(
        f"jax {jax.__version__}, {device.device_kind}: median {median:.7f} s, {batch_size / median:.1f} images/s, "
        f"compiled in {compiled:.1f} s" + (f", peak memory {peak / 2**20:.0f} MiB" if peak else "")
    )


if __name__ == "__main__":
    main()
