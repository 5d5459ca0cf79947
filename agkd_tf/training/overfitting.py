"""Watches a training for catastrophic overfitting, and ends it there if asked."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

ON_OVERFITTING = ("warn", "stop", "restore")
ROBUST, TRAINED = "val_robust_accuracy", "train_accuracy"


class WatchOverfitting(keras.callbacks.Callback):
    """Says so in one line when a training overfits to its attack, and ends it there if asked.

    A network that trains on adversaries of one step may, within an epoch, learn to classify just these and lose its
    robustness against all others. The sign is that its validation accuracy under PGD falls by more than `drop` from one
    epoch to the next, while its accuracy under the attack that it trains on rises. The latter would take another
    validation attack to measure; here the training accuracy stands for it, since it is that of the training's own
    adversaries and costs nothing. It does not decide anything: the line says whether it rose.

    Args:
        drop: by how much validation accuracy under PGD, in [0, 1], must fall within one epoch.
        action: "warn" to say so; "stop" to end the training, too; "restore" to end it and not choose the student of the
            epoch in which accuracy fell.
        attack: name of the validation attack, for the line.
        tell: called with the line.
        history: number of each finished epoch, from 0 -> its logs, as far as they are known; what they show is found
            again, so that a training that was ended does not go on when it is resumed.

    Attributes:
        epoch: number of the epoch, from 1, in which accuracy fell; None if it did not. If the training goes on, that of
            the latest such epoch.

    Source: the rule and the drop of 0.2 are those of the released code of Wong et al., Fast is better than free, ICLR
    2020, which measures PGD on a training batch and goes back to the weights of the epoch before.
    """

    def __init__(
        self,
        *,
        drop: float,
        action: str,
        attack: str,
        tell: Callable[[str], None],
        history: Mapping[int, Mapping[str, float]],
    ) -> None:
        super().__init__()
        self._drop, self._action, self._attack, self._tell = drop, action, attack, tell
        self._before: tuple[int, Mapping[str, float]] | None = None
        self.epoch: int | None = None
        for epoch in sorted(history):
            line = self._look(epoch, history[epoch])
            if line and self.ends:
                tell(line)
                break

    @property
    def ends(self) -> bool:
        """Whether the training ends, or has ended, because accuracy fell."""
        return self.epoch is not None and self._action != "warn"

    @property
    def may_choose(self) -> bool:
        """Whether the student of the epoch that has just ended may become the run's."""
        return not (self.ends and self._action == "restore")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        line = self._look(epoch, logs or {})
        if line:
            self._tell(line)
            self.model.stop_training = self.model.stop_training or self.ends

    def _look(self, epoch: int, logs: Mapping[str, float]) -> str | None:
        """Returns the line to say if accuracy fell in an epoch, counted from 0."""
        earlier, self._before = self._before, (epoch, dict(logs))
        if earlier is None or earlier[0] != epoch - 1 or ROBUST not in logs or ROBUST not in earlier[1]:
            return None
        before = earlier[1]
        if not before[ROBUST] - logs[ROBUST] > self._drop:
            return None
        self.epoch = epoch + 1
        line = (
            f"epoch {epoch + 1}: validation accuracy under {self._attack} fell from {_percent(before[ROBUST])} to "
            f"{_percent(logs[ROBUST])} within an epoch, which is what catastrophic overfitting looks like"
        )
        if TRAINED in logs and TRAINED in before:
            how = "rose" if logs[TRAINED] > before[TRAINED] else "did not rise, which speaks against it"
            shown = f"{_percent(before[TRAINED])} to {_percent(logs[TRAINED])}"
            line += f"; accuracy on the training's own adversaries {how} ({shown})"
        return (
            line
            + {
                "warn": ". `on_overfitting='restore'` would end a training there and keep the student of before",
                "stop": ". The training ends here",
                "restore": ". The training ends here and keeps the student of before",
            }[self._action]
        )


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
