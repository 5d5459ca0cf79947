"""Trains and attacks networks, as far as the time allows."""

import contextlib
import math
import shutil
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tools.laboratory.gpu.budget import Budget, longest
from tools.laboratory.gpu.device import compile_ahead, compiling_device
from tools.laboratory.gpu.errors import MeasureError, OutOfTimeError, reason
from tools.laboratory.gpu.prepared import Entry, Prepared, check_device
from tools.laboratory.gpu.report import Report

WARM_UP = 3  # steps
SHARES = {"teacher": 0.2, "students": 0.7, "last": 0.75}  # of what is left of the time
GUESSES = {"clean": 10.0, "autoattack": 60.0}  # seconds of an attack until the first one is timed; for others, OTHER
OTHER = 25.0


class Trainer:
    """Trains and attacks the prepared networks, as far as the time allows.

    Args:
        prepared: `Prepared`.
        report: `Report`.
        budget: `Budget`.
        seconds_each: seconds of training per student in part b, its teacher's included; a teacher has at most half.
    """

    def __init__(self, prepared: Prepared, report: Report, budget: Budget, seconds_each: float) -> None:
        self._seconds_each = seconds_each
        self._prepared, self._report, self._budget = prepared, report, budget
        run = prepared.run
        self._folders: dict[str, Any] = {}
        self._weights: dict[str, Sequence[np.ndarray]] = {}
        self._times: dict[tuple[str, str], float] = {}
        self._evaluations: dict[str, Any] = {}

        class Progress(run.Progress):  # type: ignore[name-defined]
            """Shows progress, and ends a piece that takes longer than it may."""

            name, until = "", math.inf

            def show(self, text: str) -> None:
                if time.monotonic() - self._shown >= run.SHOWN_EVERY:
                    self.say(text)
                if time.monotonic() > self.until:
                    raise OutOfTimeError(f"stopped, out of time: {text}")

            def say(self, text: str) -> None:
                report.say(f"{self.name}: {text}")
                self._shown = time.monotonic()

        self._device, self._progress = compiling_device(run, lambda: budget.left), Progress()
        report.machine = self._device.described()
        check_device(prepared, self._device)

    def close(self) -> None:
        """Stops compiling ahead."""
        self._device.close()

    def part_b(self) -> None:
        """Trains a teacher, then the students for equal time, and attacks the students."""
        report, budget, students = self._report, self._budget, self._prepared.plan["students"]
        taught = next(student for student in students if self._has_clean_teacher(student))
        first = self._longest(taught)
        compile_ahead(self._device, first, ("teacher",), attacks=False)
        for student in students:
            compile_ahead(self._device, self._longest(student), ("student",), attacks=False)
        compile_ahead(self._device, first, (), attacks=True)
        teacher = self._train_teacher(taught, min(self._seconds_each / 2, budget.left * SHARES["teacher"]))
        if teacher is None:
            return
        took = self._report.network(f"teacher of {taught['model']}")["seconds"]
        shares = sum(student["share"] for student in students)
        each = min(self._seconds_each, budget.left * SHARES["students"] / shares)
        report.say(f"each student is trained for at most {each:.0f} s, its teacher's included")
        done = []
        for student in students:
            available = each * student["share"] - (took if self._has_clean_teacher(student) else 0.0)
            if self._guarded(student["name"], self._train_student, student, teacher, available):
                done.append(student)
        report.say("the students are trained")
        for short in (True, False):
            for student in done:
                self._attack(student["name"], short=short)

    def part_c(self) -> None:
        """Trains the last network, with a teacher of its own, in the time that is left, and attacks it."""
        entry = self._prepared.plan["last"]
        folder = self._longest(entry)
        compile_ahead(self._device, folder, ("teacher", "student"), attacks=False)
        teacher = self._train_teacher(entry, self._budget.left * SHARES["teacher"])
        if teacher is None:
            return
        if self._guarded(entry["name"], self._train_student, entry, teacher):
            self._attack(entry["name"], short=True)
            self._attack(entry["name"], short=False)

    def _guarded(self, name: str, piece: Callable[..., Any], *arguments: Any) -> Any:
        """Runs a piece and returns its result. If it fails, reports that and returns None."""
        try:
            return piece(*arguments)
        except Exception as error:
            self._report.fail(f"{name}: {reason(error)}")
            return None

    def _has_clean_teacher(self, entry: Entry) -> bool:
        return entry["teacher"] is None and len(self._longest(entry).description["stages"]) == 2

    def _longest(self, entry: Entry) -> Any:
        """Returns the folder as it was exported, for the longest trainings."""
        return self._prepared.folder(entry["folder"])

    def _epoch_seconds(self, folder: Any, stage: Entry, teacher: Sequence[np.ndarray]) -> tuple[float, float]:
        """Returns (seconds per epoch with validation, estimated from a few steps; seconds of compiling)."""
        if not self._budget.fits(1.0):
            raise OutOfTimeError("left out: there is no time")
        device, repeat, begun = self._device, self._prepared.plan["repeat"], time.monotonic()
        programs = [folder.program(stage[part]["program"]) for part in ("step", "validation")]
        compiling = sum(device.compiled_in(text)[1] for text in programs)
        training = self._prepared.run.Training(folder, stage, device, teacher)
        validation = self._prepared.run.Validation(folder, stage, device)
        state, places = [device.put(array) for array in training.initial()], np.arange(stage["batch_size"])
        for number in range(WARM_UP + repeat):
            if number == WARM_UP:
                device.ready(state)
                begun = time.monotonic()
            state, _ = training.step(state, places)
        device.ready(state)
        step = (time.monotonic() - begun) / repeat
        validation.run(training.student(state))
        begun = time.monotonic()
        validation.run(training.student(state))
        seconds = step * stage["steps_per_epoch"] + time.monotonic() - begun
        # Reading the state, which is written after each epoch.
        begun = time.monotonic()
        for array in state:
            np.asarray(array)
        return seconds + 2 * (time.monotonic() - begun), compiling

    def _train_teacher(self, entry: Entry, available: float) -> int | None:
        """Trains a teacher; returns its number of epochs, or None if there was no time or it failed."""
        return self._guarded(f"the teacher of {entry['name']}", self._teacher, entry, available)

    def _teacher(self, entry: Entry, available: float) -> int | None:
        name, folder = f"teacher of {entry['model']}", self._longest(entry)
        stage = folder.description["stages"][0]
        seconds, compiling = self._epoch_seconds(folder, stage, ())
        available = min(available, self._budget.left)
        epochs = longest([int(each) for each in entry["rates"]["teacher"]], seconds, available)
        if epochs is None:
            self._report.note(
                f"{name}: left out, since an epoch takes {seconds:.1f} s and only {max(0.0, available):.1f} s are "
                "available"
            )
            return None
        student = max(int(each) for each in entry["rates"]["student"])
        folder = self._prepared.folder(
            entry["folder"], lengths={"teacher": epochs, "student": student}, rates=entry["rates"]
        )
        self._train(name, folder, 0, (), epochs, compiling)
        return epochs

    def _train_student(self, entry: Entry, teacher_epochs: int, available: float | None = None) -> bool:
        """Trains a student; returns whether there was time for an epoch.

        Args:
            entry: the student's entry in the plan.
            teacher_epochs: epochs that its teacher was trained for.
            available: seconds for the training; if not given, a share of those left once it is compiled.
        """
        name, rates = entry["name"], entry["rates"]
        longest_epochs = max(int(each) for each in rates["student"])
        lengths = {"teacher": teacher_epochs, "student": longest_epochs}
        source = self._prepared.folder(entry["folder"], lengths=lengths, rates=rates)
        other = entry["teacher"]
        if other is not None and other not in self._weights:
            raise MeasureError(f"left out: its teacher, {other}, was not trained")
        clean = self._has_clean_teacher(entry)
        teacher = self._teacher_weights(source) if clean else self._weights[other] if other else ()
        seconds, compiling = self._epoch_seconds(source, source.description["stages"][-1], teacher)
        left = self._budget.left
        available = left * SHARES["last"] if available is None else min(available, left)
        epochs = longest([int(each) for each in rates["student"]], seconds, available)
        if epochs is None:
            self._report.note(
                f"{name}: left out, since an epoch takes {seconds:.1f} s and only {max(0.0, available):.1f} s are "
                "available"
            )
            return False
        folder = self._prepared.folder(entry["folder"], lengths=lengths | {"student": epochs}, rates=rates)
        if clean:
            self._teacher_weights(folder)  # for `collect`
        if other:  # its digest knows nothing of that teacher, which may be another one than in an earlier command
            shutil.rmtree(folder.path / "results", ignore_errors=True)
        taught = {"taught_by": other} if other else {"teacher_epochs": teacher_epochs} if clean else {}
        weights = self._train(name, folder, -1, teacher, epochs, compiling, **taught)
        self._folders[name], self._weights[name] = folder, weights
        self._report.keep(self._prepared, self._folders, None)
        return True

    def _teacher_weights(self, folder: Any) -> list[np.ndarray]:
        """Copies the teacher's results into the folder from the one that trained it; returns the teacher's weights."""
        run, of = self._prepared.run, folder.digest_of("teacher")
        results = folder.path / "results"
        for other in sorted(folder.path.parent.glob("*/results/teacher.npz")):
            with contextlib.suppress(run.PortableError):
                if run.Results(other.parent).read("teacher", of) is not None:
                    results.mkdir(exist_ok=True)
                    for name in ("teacher.npz", "teacher_chosen.npz"):
                        if other.parent != results:
                            shutil.copy(other.parent / name, results / name)
                    break
        found = run.Results(results).read("teacher_chosen", of)
        if found is None:
            raise MeasureError("no teacher was trained")
        return run.in_order("weight", found[0])

    def _train(
        self,
        name: str,
        folder: Any,
        place: int,
        teacher: Sequence[np.ndarray],
        epochs: int,
        compiling: float,
        **more: Any,
    ) -> list[np.ndarray]:
        """Trains a stage as far as the time allows, and records it in the report; returns its weights."""
        run, stage = self._prepared.run, folder.description["stages"][place]
        results = run.Results(folder.path / "results")
        training = run.Training(folder, stage, self._device, teacher)
        self._progress.name, self._progress.until = name, time.monotonic() + self._budget.left
        try:
            weights = training.run(results, self._progress)
        except OutOfTimeError as error:
            self._report.note(f"{name}: {error}")
            found = results.read(f"{stage['name']}_chosen", folder.digest_of(stage["name"]))
            if found is None:
                raise
            weights = run.in_order("weight", found[0])
        history = results.read(stage["name"], folder.digest_of(stage["name"]))[1]["history"]
        # From each epoch's own record, since an earlier command may have trained some of them.
        images, done = stage["steps_per_epoch"] * stage["batch_size"], len(history)
        seconds = sum(images / logs["images_per_second"] for logs in history)
        own = {"epochs": epochs, "done": done, "seconds": seconds, "seconds_an_epoch": seconds / done}
        own["validation"] = {name: value for name, value in history[-1].items() if name.startswith("val_")}
        self._report.network(name, **own, compile_seconds=compiling, seed=stage["seed"], **more)
        self._report.write()
        return weights

    def _attack(self, name: str, *, short: bool) -> None:
        """Attacks a student with the last evaluation or, if `short`, with the short ones before it."""
        *others, last = self._prepared.plan["evaluations"]
        for attack, count in others if short else [last]:
            known = self._times.get((self._model_of(name), attack))
            expected = GUESSES.get(attack, OTHER) if known is None else 1.2 * known
            if not self._budget.fits(expected):
                there = f"only {max(0.0, self._budget.left):.0f} s are left"
                self._report.note(f"{name}: {attack} is left out, since it takes about {expected:.0f} s, and {there}")
                continue
            self._guarded(f"{name}, {attack}", self._evaluate, name, attack, count)

    def _model_of(self, name: str) -> str:
        plan = self._prepared.plan
        return next(entry["model"] for entry in [*plan["students"], plan["last"]] if entry["name"] == name)

    def _evaluate(self, name: str, attack: str, count: int) -> None:
        folder, run = self._folders[name], self._prepared.run
        results = run.Results(folder.path / "results")
        if name not in self._evaluations:
            self._evaluations = {name: run.Evaluation(folder, self._device, self._weights[name], results)}
        self._progress.name, self._progress.until = name, time.monotonic() + self._budget.left
        begun = time.monotonic()
        self._evaluations[name].run(attack, count, self._progress)
        self._times[self._model_of(name), attack] = time.monotonic() - begun
        of = folder.digest_of_attack(attack, count, self._weights[name])
        arrays, notes = results.read(f"attack_{attack}_{count}", of)
        entry = self._report.network(name)
        standing = int(np.count_nonzero(arrays["state"] >= 0))
        entry["attacks"][attack] = {"standing": standing, "images": count, "seconds": notes["seconds"]}
        self._report.keep(self._prepared, self._folders, self._best(name, attack))
        self._report.write()

    def _best(self, name: str, attack: str) -> tuple[str, Sequence[np.ndarray]] | None:
        """Returns a student's name and weights if they are to be kept: the best so far under the last short attack."""
        deciding = self._prepared.plan["evaluations"][-2][0]
        if attack != deciding:
            return None
        found = {
            each["name"]: each["attacks"][deciding]["standing"]
            for each in self._report.networks
            if deciding in each["attacks"]
        }
        return (name, self._weights[name]) if found[name] == max(found.values()) else None
