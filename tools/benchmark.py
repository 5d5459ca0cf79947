"""Measures what training and inference cost on the machine at hand.

  python -m tools.benchmark training flags/digits/at.flags flags/digits/agkd_bml.flags --output=runs/cost
  python -m tools.benchmark training flags/digits/agkd_bml.flags --compare=--mixed_precision=bfloat16
  python -m tools.benchmark inference runs/quickstart/at runs/quickstart/agkd_bml

training: recipes' flagfiles or runs' folders follow; any flag of a recipe overrides theirs. A step is all that
training does for a batch; nothing is trained for use. With --output, each recipe's cost.json is written to a folder
of its name, which tools.report takes as it does a run. inference: runs, .keras files or SavedModels follow.
Each is measured in a process of its own, in turn with the others, and compared with the first.
"""

import contextlib
import json
import pathlib

from absl import flags

from agkd_tf.benchmark import Cost, InferenceBenchmark, TrainingBenchmark, Worker, take_turns
from agkd_tf.compilation import resolve_jit_compile
from agkd_tf.environment import describe_environment
from agkd_tf.errors import InputError
from agkd_tf.files import write_text
from agkd_tf.workdir import Workdir
from tools import _app, _flags
from tools._progress import counting, say
from tools._subject import subject_at
from tools._table import timing_table

FLAGS = flags.FLAGS

flags.DEFINE_integer("rounds", 5, "Turns that each takes.", 1)
flags.DEFINE_integer("steps", 3, "Steps in a turn.", 1)
flags.DEFINE_string("compare", None, "training: flags of a second version of each recipe, separated by spaces.")
flags.DEFINE_string("output", None, "training: folder to write to; results are only printed if not given.")
_flags.define_data()
_flags.define_data_place()
_flags.define_recipe()
_flags.define_jit_compile()
_flags.define_progress()
flags.adopt_module_key_flags(_flags)  # so that --help shows them


def main(argv):
    """Measures what the first word names."""
    paths = [pathlib.Path(path) for path in argv[2:]]
    if not paths:
        raise InputError(f"what is to be measured is missing: python -m tools.benchmark {argv[1]} PATH ...")
    {"training": _training, "inference": _inference}[argv[1]](paths)


def _training(paths):
    overrides = _flags.given_recipe_flags()
    recipes = {}
    for path in paths:
        for more in ("",) if FLAGS.compare is None else ("", FLAGS.compare):
            title = _title(path, more)
            if title in recipes:
                raise InputError(f"{path} has the name of another recipe: {title}")
            recipes[title] = _flags.read_recipe(path, [*overrides, *more.split()])
    builds = {
        title: (_training_benchmark, recipe, _flags.data_place(), _flags.jit_compile())
        for title, recipe in recipes.items()
    }
    timings, facts = _measured(builds, {title: recipe.batch_size for title, recipe in recipes.items()})
    costs = {title: Cost(timing, facts[title], describe_environment()) for title, timing in timings.items()}
    records = {title: cost.record() for title, cost in costs.items()}
    say(f"\n{timing_table(timings, records)}")
    if FLAGS.output:
        for title, record in records.items():
            workdir = Workdir(pathlib.Path(FLAGS.output) / title)
            _flags.write_flagfile(workdir.flags, recipes[title])
            write_text(workdir.cost, json.dumps(record, indent=2) + "\n")
        say(f"\nRecorded in {FLAGS.output}: python -m tools.report {FLAGS.output}/* --tables=4")


def _inference(paths):
    batch, jit_compile = FLAGS.batch_size, resolve_jit_compile(_flags.jit_compile())
    builds = {str(path): (_inference_benchmark, str(path), batch, jit_compile) for path in paths}
    timings, facts = _measured(builds, dict.fromkeys(builds, batch))
    records = {title: facts[title] | timing.record() for title, timing in timings.items()}
    say(f"\n{timing_table(timings, records)}")


def _measured(builds, images):
    """Returns (title -> `Timing`, title -> facts) of benchmarks that take turns, each in a process of its own."""
    with contextlib.ExitStack() as stack:
        workers = {}
        for title, (build, *arguments) in builds.items():
            say(f"Preparing {title} ...")
            workers[title] = stack.enter_context(Worker(build, *arguments))
        timings = take_turns(
            {title: worker.run for title, worker in workers.items()},
            rounds=FLAGS.rounds,
            steps=FLAGS.steps,
            images=images,
            progress=counting("Measuring", "turn"),
        )
        return timings, {title: worker.facts() for title, worker in workers.items()}


def _training_benchmark(recipe, place, jit_compile):
    return TrainingBenchmark(recipe, recipe.load_dataset(**place), jit_compile=jit_compile)


def _inference_benchmark(path, batch_size, jit_compile):
    subject = subject_at("inference", path)
    return InferenceBenchmark(subject.logits, subject.image_shape, batch_size=batch_size, jit_compile=jit_compile)


def _title(path, more):
    name = path.name if path.is_dir() else path.stem
    return name + "".join(f",{flag.lstrip('-').replace('/', '_')}" for flag in more.split())


if __name__ == "__main__":
    _app.run(main, commands=("training", "inference"), words=True)
