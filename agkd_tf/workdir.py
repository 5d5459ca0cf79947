"""A run is a folder; this is its map."""

import pathlib


class Workdir:
    """Names the parts of a run's folder.

    Attributes:
        flags: the resolved settings, a flagfile that relaunches the run.
        history: a line an epoch of what it logged, CSV; an epoch that was repeated after a crash is there twice.
        environment: machine and versions of each sitting, JSON.
        checkpoints: what training resumes from.
        class_names: the names of the classes in the order of their numbers, JSON.
        student: the trained classifier as a `.keras` file, as of the last checkpoint.
        tensorboard: event files.
        evaluation: results of `tools.evaluate`, JSON.
        cost: what `tools.benchmark` measured of its training, JSON.
        saved_model: what `tools.export` writes.
        figures: pictures that `tools.visualize` draws of the run alone.
        teacher: the folder of the teacher's own run, where this run trained one.
    """

    def __init__(self, path):
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
    def teacher(self):
        return Workdir(self.path / "teacher")
