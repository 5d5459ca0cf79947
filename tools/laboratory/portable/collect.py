"""Makes a run's folder of what a portable folder trained and evaluated."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any

from agkd_tf.data import ImageDataset
from agkd_tf.errors import InputError
from agkd_tf.evaluation import Evaluation, EvaluationSession
from agkd_tf.evaluation.outcome import Outcome
from agkd_tf.training import Recipe, TrainedElsewhere, TrainingOptions, TrainingRun, read_recipe
from agkd_tf.workdir import Workdir
from tools.laboratory.portable import run


class PortableResults:
    """What a portable folder holds after `run`.

    Args:
        path: the folder.

    Attributes:
        recipe: what it trained.

    Raises:
        InputError: if it is none, damaged, or nothing was trained in it.
    """

    def __init__(self, path: pathlib.Path) -> None:
        try:
            self._folder = run.Folder(path)
        except run.PortableError as error:
            raise InputError(str(error)) from error
        self._results, self._path = run.Results(self._folder), path
        flags = path / "recipe.flags"
        if not flags.is_file() or hashlib.sha256(flags.read_bytes()).hexdigest() != self._description["recipe_sha256"]:
            raise InputError(f"{flags} is missing or was changed: copy the folder once more")
        self.recipe: Recipe = read_recipe(flags)

    @property
    def _description(self) -> Mapping[str, Any]:
        return self._folder.description

    def read(self, name: str) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
        """Returns (arrays, notes) of a file of the results, or None.

        Raises:
            InputError: if it is damaged or of another export.
        """
        try:
            return self._results.read(name)
        except run.PortableError as error:
            raise InputError(str(error)) from error

    def check_dataset(self, dataset: ImageDataset) -> None:
        """Checks that a data set is what was exported.

        Raises:
            InputError: if it is not.
        """
        for name, split in self._description["splits"].items():
            if dataset.split(name).digest().hex() != split["digest"]:
                raise InputError(f"{self._path} was exported with other {name} images than {dataset.name} has here")

    def training(self, stage: str) -> TrainedElsewhere:
        """Returns what a stage trained.

        Raises:
            InputError: if it trained nothing.
        """
        found, chosen = self.read(stage), self.read(f"{stage}_chosen")
        if found is None or chosen is None:
            command = f"`python -m tools.laboratory.portable run {self._path}`"
            raise InputError(f"{self._path} has no {stage} that is trained for an epoch or more: {command}")
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
        """Names of the trainings, in order: the teacher's, where it was trained first, and the student's."""
        return [stage["name"] for stage in self._description["stages"]]

    def outcomes(self) -> list[tuple[str, Outcome]]:
        """Returns (attack, what it did to the first images of the test split) of each evaluation."""
        found = []
        for path in sorted(self._results.path.glob("attack_*.npz")):
            read = self.read(path.stem)
            if read is not None:
                arrays, notes = read
                found.append((notes["attack"], Outcome(arrays["state"], arrays["prediction"], notes["seconds"])))
        return found

    @property
    def evaluation(self) -> Mapping[str, Any]:
        """Batch size and seed of the evaluations."""
        return {name: self._description["evaluation"][name] for name in ("batch_size", "seed")}


def collect_run(results: PortableResults, workdir: Workdir, dataset: ImageDataset) -> list[Evaluation]:
    """Makes a run's folder of the results, as far as they came, and finishes the evaluations that were begun.

    Args:
        results: of the portable folder.
        workdir: folder of the run, which must not hold anything.
        dataset: the data set of the recipe.

    Returns:
        The evaluations: those of one number of images together.

    Raises:
        InputError: if the folder is taken, or the data set is another.
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
    return _evaluations(results, workdir, dataset)


def _evaluations(results: PortableResults, workdir: Workdir, dataset: ImageDataset) -> list[Evaluation]:
    by_count: dict[int, dict[str, Outcome]] = {}
    for name, outcome in results.outcomes():
        by_count.setdefault(len(outcome.state), {})[name] = outcome
    recipe, evaluations = results.recipe, []
    data = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe)}
    data = {name: data[name] for name in ("dataset", "image_size", "train_examples", "validation_examples")}
    for count, outcomes in sorted(by_count.items()):
        session = EvaluationSession(
            str(workdir.path),
            dataset.test,
            folder=workdir.evaluation,
            data=data,
            num_examples=None if count == len(dataset.test) else count,
            **results.evaluation,
        )
        for name, outcome in outcomes.items():
            session.adopt(name, outcome)
        evaluations.append(session.accuracies(list(outcomes)))
    return evaluations
