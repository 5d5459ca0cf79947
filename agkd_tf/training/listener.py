"""Who is told what happens in a training."""

import warnings
from typing import TYPE_CHECKING

from agkd_tf.errors import Note

if TYPE_CHECKING:
    from agkd_tf.training.run import TrainingRun


class TrainingListener:
    """Is told what happens in a `TrainingRun` and in its teacher's; a subclass overrides what it wants to know."""

    def begins(self, run: "TrainingRun") -> None:
        """Called before the first step of a sitting.

        Args:
            run: the run, or its teacher's, with its `defense`, `finished_epochs` and `begun_steps`.
        """

    def warns(self, line: str) -> None:
        """Called with what is lost, such as a checkpoint that is damaged; it is a `Note` by itself."""
        warnings.warn(line, Note, stacklevel=2)
