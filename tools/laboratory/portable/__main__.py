"""Trains and evaluates a recipe on a machine without TensorFlow, and brings the results back.

  python -m tools.laboratory.portable export flags/digits/agkd_bml.flags --output=portable --attacks=clean,pgd-20
  python -m tools.laboratory.portable run portable
  python -m tools.laboratory.portable collect portable --workdir=runs/digits/agkd_bml

`export` compiles the training step, the validation and the attacks to StableHLO, for the GPU by default, and writes
them into a folder with the images and the initial weights. `run` needs only that folder, JAX and NumPy. It uses a GPU
if there is one, and resumes where it was interrupted. `collect` turns the results into a run's folder, which evaluate,
report, visualize, export and train take like any other.
"""

import pathlib
import sys

from tools.laboratory.portable import run

if sys.argv[1:2] == ["run"]:  # needs neither this project's requirements nor its flags
    sys.exit(run.main(sys.argv[2:]))

from absl import flags

from agkd_tf.errors import InputError
from agkd_tf.training.recipe_file import read_recipe
from agkd_tf.workdir import Workdir
from tools import _app, _flags
from tools.laboratory.portable.collect import PortableResults, collect_run
from tools.laboratory.portable.export import export_portable

FLAGS = flags.FLAGS
COMMANDS = ("export", "run", "collect")

flags.DEFINE_string("output", None, "export: the folder to write.")
flags.DEFINE_string("workdir", None, "collect: the folder of the run to make.")
flags.DEFINE_list("attacks", ["clean", "pgd-20"], "export: attacks that `run` can evaluate the student with.")
flags.DEFINE_integer("evaluation_batch_size", 100, "export: test images per batch of an evaluation.", 1)
flags.DEFINE_integer("evaluation_seed", 0, "export: seed of the attacks' random numbers.", 0)
flags.DEFINE_bool(
    "draw_weights", False, "export: leave out the initial weights; `run` draws others with the same mean and deviation."
)
flags.DEFINE_enum("platform", "GPU", ["GPU", "CPU", "TPU"], "export: kind of device that the programs are for.")
_flags.define_data()
_flags.define_data_place()
_flags.define_recipe()


def main(argv: list[str]) -> None:
    """Runs the command that the first word names."""
    words = argv[2:]
    if len(words) != 1:
        what = {"export": "one recipe, a flagfile", "collect": "one portable folder"}[argv[1]]
        raise InputError(f"`{argv[1]}` takes {what}. Received: {' '.join(words) or 'none'}")
    {"export": _export, "collect": _collect}[argv[1]](pathlib.Path(words[0]))


def _export(path: pathlib.Path) -> None:
    if not FLAGS.output:
        raise InputError("`output`, the folder to write, is needed: --output=DIR")
    recipe = read_recipe(path, _flags.given_recipe_flags())
    found = export_portable(
        recipe,
        recipe.load_dataset(**_flags.data_place()),
        pathlib.Path(FLAGS.output),
        attacks=FLAGS.attacks,
        batch_size=FLAGS.evaluation_batch_size,
        seed=FLAGS.evaluation_seed,
        draw_weights=FLAGS.draw_weights,
        platform=FLAGS.platform,
    )
    for name, size in found.programs.items():
        print(f"{name:20} {size / 2**20:6.2f} MiB of StableHLO")
    print(f"{'arrays':20} {found.array_bytes / 2**20:6.1f} MiB")
    print(f"\nOn any machine with JAX: python {found.path}/run.py {found.path}")


def _collect(path: pathlib.Path) -> None:
    if not FLAGS.workdir:
        raise InputError("`workdir`, the folder of the run to make, is needed: --workdir=runs/NAME")
    results, workdir = PortableResults(path), Workdir(FLAGS.workdir)
    dataset = results.recipe.load_dataset(**_flags.data_place())
    for evaluation in collect_run(results, workdir, dataset):
        print(f"\n{evaluation}")
    print(f"\n{workdir.path} is a run's folder now. To go on: python -m tools.evaluate --workdir={workdir.path}")


if __name__ == "__main__":
    _app.run(main, commands=COMMANDS, words=True)
