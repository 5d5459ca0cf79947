"""Measures what training and inference cost on the machine at hand.

  python -m tools.benchmark training flags/digits/at.flags flags/digits/agkd_bml.flags --output=runs/cost
  python -m tools.benchmark training flags/digits/agkd_bml.flags --compare=--mixed_precision=bfloat16
  python -m tools.benchmark training flags/digits/agkd_bml.flags --flops --breakdown --peer="COMMAND"
  python -m tools.benchmark inference runs/quickstart/at runs/quickstart/agkd_bml

training takes flagfiles of recipes or folders of runs; other flags of a recipe override theirs. It times training
steps, each of which does everything that training does for a batch; no trained network is kept. A teacher that would be
trained first is timed, too, and its hours are added in a column of their own, which is empty for a given teacher.
  --output writes each recipe's cost.json to a folder named after the recipe, which tools.report reads like a run.
  --peer gives each recipe's images per second relative to each peer's, compared round by round.
  --flops counts the convolutions and matrix products in the step's XLA program. It compares their number with the
    least that AGKD-BML needs, and their rate with that of a large matrix product.
  --breakdown times the parts of a step; --profile times its operations by kind, on the CPU and without XLA.

inference takes runs, .keras files or SavedModels, and times their forward pass.

Everything is measured in a process of its own, in turn with the others, and compared with the first.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from absl import flags

from agkd_tf.benchmark import (
    Cost,
    CrashedWorkerError,
    InferenceBenchmark,
    Timing,
    Worker,
    ratio,
    take_turns,
)
from agkd_tf.compilation import JitCompile, resolve_jit_compile
from agkd_tf.environment import describe_environment
from agkd_tf.errors import InputError
from agkd_tf.evaluation import subject_at
from agkd_tf.files import write_text
from agkd_tf.processor import ONEDNN_SWITCH
from agkd_tf.training import NonFiniteLossError, Recipe
from agkd_tf.training.recipe_file import read_recipe, write_recipe
from agkd_tf.workdir import Workdir
from tools import _app, _flags
from tools._progress import progress, say
from tools._remedies import with_flags
from tools._table import breakdown_table, peers_table, timing_table
from tools.laboratory.breakdown import BreakdownBenchmark
from tools.laboratory.matrix_product import MatrixProduct
from tools.laboratory.peer import Peer
from tools.laboratory.profile import StepProfile, run_one_operation_at_a_time
from tools.laboratory.step_program import StepProgram

FLAGS = flags.FLAGS
Paths = Sequence[pathlib.Path]
Place = Mapping[str, Any]  # arguments of `load_dataset`
Switches = dict[str, JitCompile]  # `jit_compile` and `resident`
T = TypeVar("T")

flags.DEFINE_integer("rounds", 5, "Number of turns that each contestant takes.", 1)
flags.DEFINE_integer("steps", 3, "Steps per turn.", 1)
flags.DEFINE_string(
    "compare",
    None,
    "training: also measure each recipe with these flags, separated by spaces; --jit_compile and --resident may be "
    "among them.",
)
flags.DEFINE_string("output", None, "training: folder to write results to; if not given, they are only printed.")
flags.DEFINE_bool("flops", False, "training: count floating-point operations, and compare with a matrix product.")
flags.DEFINE_bool("breakdown", False, "training: also time the parts of a step.")
flags.DEFINE_bool("profile", False, "training: also time a step's operations by kind, on the CPU and without XLA.")
flags.DEFINE_multi_string(
    "peer", [], "training: command of another implementation that prints `median X s` and `Y images/s`"
)
TRAINING_FLAGS = ("compare", "output", "flops", "breakdown", "profile", "peer")
_flags.define_data()
_flags.define_data_place()
_flags.define_recipe()
_flags.define_jit_compile()
_flags.define_resident()
_flags.define_progress()


def main(argv: list[str]) -> None:
    """Runs the benchmark that the first word names."""
    paths = [pathlib.Path(path) for path in argv[2:]]
    if not paths:
        raise InputError(f"the paths to measure are missing: python -m tools.benchmark {argv[1]} PATH ...")
    try:
        {"training": _training, "inference": _inference}[argv[1]](paths)
    except (CrashedWorkerError, NonFiniteLossError) as error:
        print(f"error: {with_flags(str(error))}", file=sys.stderr)
        sys.exit(1)


def _machine() -> str:
    """Returns one line that describes the machine and its settings."""
    machine = describe_environment()
    sets = " ".join(machine["instruction_sets"]) or "instruction sets not known"
    devices = ", ".join([*machine["accelerators"], f"{machine['processor']}, {machine['cores']} cores ({sets})"])
    return f"{devices}; oneDNN {'on' if machine['onednn'] else 'off'}, {ONEDNN_SWITCH}={os.environ.get(ONEDNN_SWITCH)}"


def _training(paths: Paths) -> None:
    recipes, switches = _versions(paths)
    if FLAGS.profile and any(switch["jit_compile"] is True for switch in switches.values()):
        raise InputError("`profile` needs steps without XLA, --jit_compile=off. Received: --jit_compile=on")
    peers = {command: _prepared(command, Peer, command) for command in dict.fromkeys(FLAGS.peer)}
    flops = {title: _flops(title, recipe) for title, recipe in recipes.items()} if FLAGS.flops else {}
    profiles = {title: _profile(title, recipe) for title, recipe in recipes.items()} if FLAGS.profile else {}
    teachers, teacher_of = _teachers(recipes, switches)
    timed = recipes | teachers
    builds = {
        title: (_training_benchmark, recipe, _flags.data_place(), switches[title]) for title, recipe in timed.items()
    }
    precisions = dict.fromkeys(recipe.mixed_precision for recipe in recipes.values()) if FLAGS.flops else {}
    with contextlib.ExitStack() as stack:
        workers = _workers(builds, stack)
        products = _workers({f"matrix product, {each}": (MatrixProduct, each) for each in precisions}, stack)
        items = {title: recipe.batch_size for title, recipe in timed.items()}
        items |= {command: peer.images for command, peer in peers.items()}
        items |= {title: worker.facts()["flops"] for title, worker in products.items()}
        timings = _timed(workers | peers | products, items)
        facts = {title: worker.facts() for title, worker in workers.items()}
        parts = {}
        if FLAGS.breakdown:
            parts = {title: workers[title].ask("breakdown", FLAGS.rounds * FLAGS.steps) for title in recipes}
    for title, (counted, minimum) in flops.items():
        product = timings[f"matrix product, {recipes[title].mixed_precision}"]
        needed = counted if minimum is None else minimum
        facts[title] |= _rate(dataclasses.replace(timings[title], items=needed), product)
        facts[title]["gigaflops_per_step"] = counted / 1e9
        if minimum is not None:
            facts[title] |= {"minimum_gigaflops_per_step": minimum / 1e9, "times_the_minimum": counted / minimum}
    ours, theirs, firsts = ({title: timings[title] for title in group} for group in (recipes, peers, teachers))
    costs = {title: Cost(timings[title], facts[title], describe_environment()) for title in teachers}
    taught = {title: costs[teacher] for title, teacher in teacher_of.items()}
    for title, recipe in recipes.items():
        is_given = recipe.needs_teacher and not recipe.trains_teacher
        costs[title] = Cost(
            timings[title], facts[title], describe_environment(), theirs, taught.get(title), teacher_is_given=is_given
        )
    records = {title: cost.record() for title, cost in costs.items()}
    for title, seconds in parts.items():
        records[title]["waiting_share"] = seconds["waiting"] / timings[title].median
    for key, found in {"breakdown_seconds": parts, "profile_seconds": profiles}.items():
        for title, seconds in found.items():
            records[title][key] = seconds
    names = {command: peer.name for command, peer in peers.items()}
    say(f"\n{_machine()}\n\n{_tables(ours, firsts, theirs, records, names)}")
    for title in products:
        say(f"{title}: {timings[title].items_per_second / 1e9:,.0f} GFLOP/s")
    for found in (parts, profiles):
        if found:
            say(f"\n{breakdown_table(found)}")
    if FLAGS.output:
        _write({title: records[title] for title in recipes}, recipes)


def _versions(paths: Paths) -> tuple[dict[str, Recipe], dict[str, Switches]]:
    """Returns title -> `Recipe` and title -> keyword arguments of its `BreakdownBenchmark`, for all versions."""
    overrides = _flags.given_recipe_flags()
    recipes: dict[str, Recipe] = {}
    switches: dict[str, Switches] = {}
    for path in paths:
        for more in ("",) if FLAGS.compare is None else ("", FLAGS.compare):
            title = _title(path, more)
            if title in recipes:
                raise InputError(f"{path} has the same name as another recipe: {title}")
            switches[title], flags_of_recipe = _switches(more)
            recipes[title] = _recipe(path, overrides, flags_of_recipe)
    return recipes, switches


def _teachers(recipes: Mapping[str, Recipe], switches: dict[str, Switches]) -> tuple[dict[str, Recipe], dict[str, str]]:
    """Returns title -> `Recipe` of the teachers that are trained first, and title of a student -> that of its teacher.

    Teachers of the same recipe and switches are timed once. Their switches are added to `switches`.
    """
    teachers: dict[str, Recipe] = {}
    teacher_of: dict[str, str] = {}
    for title, recipe in recipes.items():
        if recipe.trains_teacher:
            own = recipe.for_teacher(), switches[title]
            same = (name for name in teachers if (teachers[name], switches[name]) == own)
            teacher_of[title] = next(same, f"teacher of {title}")
            teachers[teacher_of[title]], switches[teacher_of[title]] = own
    return teachers, teacher_of


def _switches(more: str) -> tuple[Switches, list[str]]:
    """Returns (keyword arguments of a version's `BreakdownBenchmark`, the flags that belong to its recipe)."""
    values = flags.FlagValues()
    _flags.define_jit_compile(values)
    _flags.define_resident(values)
    try:
        _, *left = values(["compare", *more.split()], known_only=True)
    except flags.Error as error:
        raise InputError(f"`compare` {more}: {error}") from error
    chosen = {name: values if values[name].present else FLAGS for name in ("jit_compile", "resident")}
    return {name: _flags.switch(name, chosen[name]) for name in chosen}, left


def _flops(title: str, recipe: Recipe) -> tuple[int, int | None]:
    """Returns (counted, least possible) floating-point operations of a step; None if the least is not known."""
    # In a process that ends before the timing, so that its memory does not count as the step's.
    with _prepared(f"operations of {title}", Worker, _step_program, recipe, _flags.data_place()) as worker:
        return worker.ask("flops"), worker.ask("minimum_flops")


def _profile(title: str, recipe: Recipe) -> dict[str, float]:
    with _prepared(f"profile of {title}", Worker, _step_profile, recipe, _flags.data_place()) as worker:
        return worker.ask("run", FLAGS.rounds * FLAGS.steps)


def _rate(step: Timing, product: Timing) -> dict[str, Any]:
    """Returns the rate of a step's operations as a dict for JSON.

    Args:
        step: `Timing` whose items are the operations that the step needs.
        product: `Timing` whose items are the operations of a matrix product.
    """
    return {
        "gigaflops_per_second": step.items_per_second / 1e9,
        "share_of_matrix_product": ratio(step, product),
    }


def _tables(
    ours: dict[str, Timing],
    teachers: dict[str, Timing],
    theirs: dict[str, Timing],
    records: Mapping[str, Mapping[str, Any]],
    names: Mapping[str, str],
) -> str:
    """Returns a text table of recipes, teachers and peers, followed by one of each recipe relative to each peer."""
    numbers = {command: f"peer {number}" for number, command in enumerate(theirs, 1)}
    shown = ours | teachers | {f"{number}: {names[command]}": theirs[command] for command, number in numbers.items()}
    table = timing_table(shown, {title: records.get(title, {}) for title in shown})
    if not theirs:
        return table
    return f"{table}\n\n{peers_table(ours, {number: theirs[command] for command, number in numbers.items()})}"


def _write(records: Mapping[str, Mapping[str, Any]], recipes: Mapping[str, Recipe]) -> None:
    for title, record in records.items():
        workdir = Workdir(pathlib.Path(FLAGS.output) / title)
        write_recipe(workdir.flags, recipes[title])
        write_text(workdir.cost, json.dumps(record, indent=2) + "\n")
    say(f"\nRecorded in {FLAGS.output}: python -m tools.report {shlex.quote(FLAGS.output)}/* --tables=4")


def _recipe(path: pathlib.Path, overrides: list[str], more: list[str]) -> Recipe:
    recipe = read_recipe(path, overrides)
    if not more:
        return recipe
    try:
        return read_recipe(path, [*overrides, *more])
    except InputError as error:
        raise InputError(f"`compare` {' '.join(more)}: {error}") from error


def _inference(paths: Paths) -> None:
    given = [name for name in TRAINING_FLAGS if FLAGS[name].present]
    given += [line.partition("=")[0].lstrip("-") for line in _flags.given_recipe_flags()]
    others = [name for name in given if name != "batch_size"]
    if others:
        raise InputError(f"`{others[0]}` is for `training`; `inference` takes batch_size, jit_compile, rounds, steps")
    batch, jit_compile = FLAGS.batch_size, resolve_jit_compile(_flags.switch("jit_compile"))
    builds = {str(path): (_inference_benchmark, str(path), batch, jit_compile) for path in paths}
    with contextlib.ExitStack() as stack:
        workers = _workers(builds, stack)
        timings = _timed(workers, dict.fromkeys(workers, batch))
        facts = {title: worker.facts() for title, worker in workers.items()}
    records = {
        title: timings[title].record()
        | found
        | {"compile_seconds": timings[title].compile_seconds(found["first_step_seconds"])}
        for title, found in facts.items()
    }
    say(f"\n{_machine()}\n\n{timing_table(timings, records)}")


def _workers(builds: Mapping[str, tuple], stack: contextlib.ExitStack) -> dict[str, Worker]:
    """Returns title -> `Worker`, each in a process of its own that ends with the stack."""
    return {title: stack.enter_context(_prepared(title, Worker, *build)) for title, build in builds.items()}


def _prepared(title: str, make: Callable[..., T], *arguments: Any) -> T:
    say(f"Preparing {title} ...")
    return make(*arguments)


def _timed(contestants: Mapping[str, Worker | Peer], items: Mapping[str, int]) -> dict[str, Timing]:
    runs = {title: contestant.run for title, contestant in contestants.items()}
    show = progress().counting("Measuring", "turn")
    return take_turns(runs, rounds=FLAGS.rounds, steps=FLAGS.steps, items=items, progress=show)


def _training_benchmark(recipe: Recipe, place: Place, switches: Switches) -> BreakdownBenchmark:
    return BreakdownBenchmark(recipe, recipe.load_dataset(**place), **switches)


def _step_program(recipe: Recipe, place: Place) -> StepProgram:
    return StepProgram(recipe, recipe.load_dataset(**place))


def _step_profile(recipe: Recipe, place: Place) -> StepProfile:
    run_one_operation_at_a_time()
    return StepProfile(recipe, recipe.load_dataset(**place))


def _inference_benchmark(path: str, batch_size: int, jit_compile: bool) -> InferenceBenchmark:
    subject = subject_at("inference", path)
    if subject.image_shape is None:
        raise InputError(f"`inference` needs a model with a fixed image size. Received: {path}, which takes any size")
    return InferenceBenchmark(subject.logits, subject.image_shape, batch_size=batch_size, jit_compile=jit_compile)


def _title(path: pathlib.Path, more: str) -> str:
    name = path.name if path.is_dir() else path.stem
    return name + "".join(f",{flag.lstrip('-').replace('/', '_')}" for flag in more.split())


if __name__ == "__main__":
    _app.run(main, commands=("training", "inference"), words=True)
