"""Measures what `prepare` prepared, on a machine with a GPU, JAX, NumPy and, if installed, PyTorch.

  python -m tools.laboratory.gpu.measure gpu --output=found --parts=a,b --minutes=9

See `tools/laboratory/gpu/__init__.py`. Each result is written as soon as it is measured. A piece begins only if it fits
into the minutes that are left. If one fails, that is reported and the next one begins. Trainings and decoded images are
kept in --work; the same command resumes from there.
"""

import argparse
import functools
import pathlib
import sys
import tempfile
from collections.abc import Callable, Sequence

from tools.laboratory.gpu.budget import CLOSING, Budget
from tools.laboratory.gpu.errors import MeasureError, reason
from tools.laboratory.gpu.prepared import Prepared
from tools.laboratory.gpu.report import Report
from tools.laboratory.gpu.steps import time_steps, worker
from tools.laboratory.gpu.study import WORKER, run_study, study_worker
from tools.laboratory.gpu.trainings import Trainer

PARTS = ("a", "b", "c", "d")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code: 1 if only a piece failed, 2 if an error ended it all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("folder", metavar="FOLDER", type=pathlib.Path, help="folder that `prepare` wrote")
    parser.add_argument("--output", type=pathlib.Path, default="found", help="folder to write the results into")
    parser.add_argument("--parts", default=",".join(PARTS), help="parts to measure, separated by commas (default: all)")
    parser.add_argument("--minutes", type=float, default=9.0, help="minutes after which it ends")
    default = pathlib.Path(tempfile.gettempdir()) / "agkd_tf_gpu"
    parser.add_argument(
        "--work", type=pathlib.Path, default=default, help="folder that keeps the decoded images and the trainings"
    )
    parser.add_argument("--minutes_each", type=float, default=2.5, help="minutes of training per student of part b")
    parser.add_argument("--study", help="networks of part d, separated by commas (default: all)")
    parser.add_argument("--workers", type=int, default=4, help="networks that part d trains at a time")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    try:
        parts = [part for part in given.parts.split(",") if part]
        if not parts or set(parts) - set(PARTS):
            raise MeasureError(f"--parts must be among {', '.join(PARTS)}. Received: {given.parts}")
        budget = Budget(60 * given.minutes)
        if not budget.left > 0:
            raise MeasureError(f"--minutes must be more than {CLOSING / 60:.2f}. Received: {given.minutes}")
        prepared = Prepared(given.folder, given.work)
        if given.worker == WORKER:
            study_worker(prepared)
            return 0
        if given.worker:
            worker(prepared, given.worker)
            return 0
        if "study" not in prepared.plan:
            raise MeasureError(f"{given.folder} was prepared by another version of this project: prepare it again")
        known = [entry["name"] for entry in prepared.plan["study"]]
        names = known if given.study is None else list(dict.fromkeys(filter(None, given.study.split(","))))
        if set(names) - set(known):
            raise MeasureError(f"--study must be among {', '.join(known)}. Received: {given.study}")
        if given.workers < 1:
            raise MeasureError(f"--workers must be at least 1. Received: {given.workers}")
        report = Report(given.output, prepared.plan, budget)
        report.write()
        report.say("decoding the images ...")
        prepared.make_arrays()
        report.say("the images equal those that TensorFlow reads, bit for bit")
        study = functools.partial(run_study, names=names, workers=given.workers)
        trainer = functools.partial(Trainer, seconds_each=60 * given.minutes_each)
        measure(parts, prepared, report, budget, given.work, study, trainer)
        return 1 if report.failed else 0
    except MeasureError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}" if error.filename else f"error: {error}", file=sys.stderr)
        return 2


def measure(
    parts: Sequence[str],
    prepared: Prepared,
    report: Report,
    budget: Budget,
    work: pathlib.Path,
    study: Callable[[Prepared, Report, Budget, pathlib.Path], None],
    trainer_of: Callable[[Prepared, Report, Budget], Trainer],
) -> None:
    """Measures parts in alphabetical order. If one fails, that is reported and the next one begins."""
    trainer: Trainer | None = None
    for part in sorted(parts):
        report.begin(part)
        try:
            if part == "a":
                time_steps(prepared, report, budget, work.resolve())
                continue
            if part == "d":
                study(prepared, report, budget, work.resolve())
                continue
            trainer = trainer or trainer_of(prepared, report, budget)
            trainer.part_b() if part == "b" else trainer.part_c()
        except Exception as error:
            report.fail(f"part {part} ended: {reason(error)}")
    if trainer:
        trainer.close()
    report.write()
    report.say(f"done: {report.output / 'summary.md'}")


if __name__ == "__main__":
    sys.exit(main())
