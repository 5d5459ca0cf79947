"""A run is a folder; this is its map."""

import pathlib

from agkd_tf.errors import InputError
from agkd_tf.types import PathLike


class Workdir:
    """Names the parts of a run's folder.

    Args:
        path: of the folder, which need not exist.

    Attributes:
        path: the folder.
        flags: the recipe as a flagfile, which relaunches the run.
        history: a line an epoch of what it logged, CSV; an epoch that was repeated after a crash is there twice.
        environment: machine and versions of each sitting, JSON.
        checkpoints: what training resumes from.
        class_names: the names of the classes in the order of their numbers, JSON.
        student: the trained classifier as a `.keras` file, as of the last checkpoint.
        tensorboard: event files.
        evaluation: results of evaluations, JSON.
        cost: what a benchmark measured of its training, JSON.
        saved_model: the student as a TensorFlow SavedModel.
        figures: pictures of the run alone.
        teacher: the folder of the teacher's own run, where this run trained one.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = pathlib.Path(path)
        self.flags = self.path / "flags.txt"
        self.history = self.path / "history.csv"
        self.environment = self.path / "environment.json"
        self.class_names = self.path / "class_names.json"
        self.checkpoints = self.path / "checkpoints"
        self.student = self.path / "student.keras"
        self.tensorboard = self.path / "tensorboard"
        self.evaluation = self.path / "evaluation.json"
        self.cost = self.path / "cost.json"
        self.saved_model = self.path / "saved_model"
        self.figures = self.path / "figures"

    @property
    def teacher(self) -> "Workdir":
        return Workdir(self.path / "teacher")

    def check(self) -> None:
        """Checks that a run can be there.

        Raises:
            InputError: if a file is in the folder's place.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"`workdir` must be a folder. Received: {str(self.path)!r}, a file")
