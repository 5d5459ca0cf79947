"""Turns the results of a portable folder into a run's folder."""

import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agkd_tf.data import ImageDataset
from agkd_tf.errors import InputError
from agkd_tf.evaluation import Evaluation, EvaluationSession
from agkd_tf.evaluation.outcome import Outcome
from agkd_tf.training import Recipe, TrainedElsewhere, TrainingOptions, TrainingRun, read_recipe
from agkd_tf.workdir import Workdir
from tools.laboratory.portable import run


class PortableResults:
    """The results that a portable folder holds after `run`.

    Args:
        path: the folder.

    Attributes:
        recipe: the recipe that it trains.

    Raises:
        InputError: if the folder is not a portable folder, or is damaged.
    """

    def __init__(self, path: pathlib.Path) -> None:
        try:
            self._folder = run.Folder(path)
        except run.PortableError as error:
            raise InputError(str(error)) from error
        self._results, self._path = run.Results(path / "results"), path
        flags = path / "recipe.flags"
        if not flags.is_file() or hashlib.sha256(flags.read_bytes()).hexdigest() != self._description["recipe_sha256"]:
            raise InputError(f"{flags} is missing or was changed: copy the folder again")
        self.recipe: Recipe = read_recipe(flags)

    @property
    def _description(self) -> Mapping[str, Any]:
        return self._folder.description

    def _read(self, name: str, of: str) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
        try:
            return self._results.read(name, of)
        except run.PortableError as error:
            raise InputError(str(error)) from error

    def check_dataset(self, dataset: ImageDataset) -> None:
        """Checks that a data set is the one that was exported.

        Raises:
            InputError: if it is not.
        """
        for name, split in self._description["splits"].items():
            if dataset.split(name).digest().hex() != split["digest"]:
                raise InputError(f"{self._path} was exported with different {name} images than {dataset.name} has here")

    def training(self, stage: str) -> TrainedElsewhere:
        """Returns what a stage has trained.

        Raises:
            InputError: if it has not finished an epoch.
        """
        of = self._folder.digest_of(stage)
        found, chosen = self._read(stage, of), self._read(f"{stage}_chosen", of)
        if found is None or chosen is None:
            command = f"`python -m tools.laboratory.portable run {self._path}`"
            raise InputError(f"{self._path} has no {stage} trained for at least one epoch: {command}")
        arrays, notes = found
        return TrainedElsewhere(
            state=run.in_order("state", arrays),
            student=run.in_order("weight", chosen[0]),
            chosen_epoch=notes["chosen_epoch"],
            best=notes["best"],
            history=notes["history"],
            machine=notes["machine"],
        )

    @property
    def stages(self) -> list[str]:
        """Names of the trainings, in order: the teacher's, if it was trained first, and the student's."""
        return [stage["name"] for stage in self._description["stages"]]

    def outcomes(self, student: Sequence[np.ndarray]) -> list[tuple[str, Outcome, Mapping[str, Any]]]:
        """Returns (attack, its outcome on the first images of the test split, machine) of each evaluation.

        Args:
            student: values of the variables of the attacked network.
        """
        found, counts = [], set()
        for path in self._results.path.glob("attack_*.npz"):
            counts.add(int(path.stem.rpartition("_")[2]))
        for count in sorted(counts):
            for name in self._description["evaluation"]["attacks"]:
                of = self._folder.digest_of_attack(name, count, student)
                read = self._read(f"attack_{name}_{count}", of)
                if read is not None:
                    arrays, notes = read
                    outcome = Outcome(arrays["state"], arrays["prediction"], notes["seconds"])
                    found.append((name, outcome, notes["machine"]))
        return found

    @property
    def evaluation(self) -> Mapping[str, Any]:
        """Batch size and seed of the evaluations."""
        return {name: self._description["evaluation"][name] for name in ("batch_size", "seed")}


def collect_run(results: PortableResults, workdir: Workdir, dataset: ImageDataset) -> list[Evaluation]:
    """Turns the results so far into a run's folder, and finishes the evaluations that were begun.

    Args:
        results: the results of the portable folder.
        workdir: the run's folder, which must be missing or empty.
        dataset: the data set of the recipe.

    Returns:
        One evaluation for each number of images.

    Raises:
        InputError: if the run's folder is not empty, or the data set is not the exported one.
    """
    workdir.check()
    if workdir.path.exists() and any(workdir.path.iterdir()):
        raise InputError(f"`workdir` must be a folder that is not there yet, or empty. Received: {workdir.path}")
    results.check_dataset(dataset)
    recipe, options = results.recipe, TrainingOptions(jit_compile=False, panel_every=0)
    trainings = {stage: results.training(stage) for stage in results.stages}
    for stage, trained in trainings.items():
        own, place = (recipe.for_teacher(), workdir.teacher) if stage == "teacher" else (recipe, workdir)
        training = TrainingRun(own, place, dataset, options=options)
        training.prepare_teacher()
        training.build()
        training.restore()
        training.adopt(trained)
    return _evaluations(results, workdir, dataset, trainings["student"].student)


def _evaluations(
    results: PortableResults, workdir: Workdir, dataset: ImageDataset, student: Sequence[np.ndarray]
) -> list[Evaluation]:
    by_count: dict[int, list[tuple[str, Outcome, Mapping[str, Any]]]] = {}
    for found in results.outcomes(student):
        by_count.setdefault(len(found[1].state), []).append(found)
    evaluations, settings = [], results.recipe.settings()
    data = {name: settings[name] for name in ("dataset", "image_size", "train_examples", "validation_examples")}
    for count, outcomes in by_count.items():
        session = EvaluationSession(
            str(workdir.path),
            dataset.test,
            folder=workdir.evaluation,
            data=data,
            num_examples=None if count == len(dataset.test) else count,
            **results.evaluation,
        )
        finished = {name: machine for name, outcome, machine in outcomes if session.adopt(name, outcome)}
        evaluations.append(session.accuracies([name for name, _, _ in outcomes]))
        for name, machine in finished.items():
            session.record.add_detail(session.key_of(name), "environment", machine)
    return evaluations
