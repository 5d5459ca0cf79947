"""Listeners: what a training reports while it runs."""

import warnings
from typing import TYPE_CHECKING

from agkd_tf.errors import Note

if TYPE_CHECKING:
    from agkd_tf.training.run import TrainingRun


class TrainingListener:
    """Receives the events of a `TrainingRun` and of its teacher's; a subclass overrides the methods that it needs."""

    def begins(self, run: "TrainingRun") -> None:
        """Called before the first step, each time that a run is started or resumed.

        Args:
            run: the run, or its teacher's, with its `defense`, `finished_epochs` and `begun_steps`.
        """

    def warns(self, line: str) -> None:
        """Called with a line for each thing that is lost or goes wrong; by default, it is a `Note`.

        Args:
            line: what it is, such as a damaged checkpoint or catastrophic overfitting.
        """
        warnings.warn(line, Note, stacklevel=2)
