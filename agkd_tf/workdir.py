"""The files in a run's folder."""

import pathlib

from agkd_tf.errors import InputError
from agkd_tf.types import PathLike


class Workdir:
    """The paths of the files and folders in a run's folder.

    Args:
        path: path of the folder, which need not exist.

    Attributes:
        path: the folder.
        flags: the recipe as a flagfile, which can start the run again.
        history: logged values, one line per epoch, CSV; an epoch that was repeated after a crash is there twice.
        environment: machine and versions of each training session, JSON.
        checkpoints: checkpoints from which training resumes.
        class_names: the names of the classes in the order of their numbers, JSON.
        student: the trained classifier as a `.keras` file, as of the last checkpoint.
        tensorboard: TensorBoard's event files.
        evaluation: results of evaluations, JSON.
        cost: training cost measured by a benchmark, JSON.
        saved_model: the student as a TensorFlow SavedModel.
        figures: figures of this run.
        teacher: the folder of the teacher's own run, if this run trained its teacher.
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
        """Checks that the path can be a run's folder.

        Raises:
            InputError: if the path is a file.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"`workdir` must be a folder. Received: {str(self.path)!r}, a file")
