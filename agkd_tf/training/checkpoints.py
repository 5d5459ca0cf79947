"""Checkpoints of a training: everything a resumed run needs to equal an unbroken one."""

import math

import keras
import tensorflow as tf

from agkd_tf.errors import InputError

# A finished epoch's logs -> its score; the student of the highest score, the first of several, is the run's.
SELECT_BEST = {"last": lambda logs: logs["epoch"], "robust": lambda logs: logs["val_robust_accuracy"]}


class Checkpoints(keras.callbacks.Callback):
    """Saves a defense after each epoch, chooses the student that is kept, and restores the newest checkpoint.

    Randomness needs no state of its own: batches, augmentation and attacks are functions of the seed
    and of the step, which is saved.

    Args:
        folder: where the checkpoints are.
        defense: a compiled `Defense`.
        select_best: a name of `SELECT_BEST`: which epoch's student is chosen.
        choose: callable without arguments, called when the student as it is becomes the chosen one, before
            the checkpoint that says so: a crash in between repeats the choice instead of losing it.
        keep: how many checkpoints stay.
    """

    def __init__(self, folder, defense, *, select_best, choose, keep=2):
        super().__init__()
        self._epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._chosen_epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._best = tf.Variable(-math.inf, dtype=tf.float64, trainable=False)
        state = tf.train.Checkpoint(
            epoch=self._epoch, chosen_epoch=self._chosen_epoch, best=self._best, **defense.checkpointed()
        )
        # Made now by all of several workers, of which one will save.
        self._save_counter = state.save_counter
        self._state = state
        self._manager = tf.train.CheckpointManager(state, str(folder), max_to_keep=keep)
        self._score, self._choose = SELECT_BEST[select_best], choose

    @property
    def chosen_epoch(self):
        """Number of the epoch, from 1, whose student was chosen; 0 before the first."""
        return int(self._chosen_epoch.numpy())

    @property
    def latest(self):
        """Path of the newest checkpoint, or None."""
        return self._manager.latest_checkpoint

    def restore(self):
        """Restores the newest checkpoint.

        Returns:
            Number of finished epochs; 0 without a checkpoint.

        Raises:
            InputError: if the checkpoint cannot be read or is of another model.
        """
        if not self.latest:
            return 0
        try:
            self._state.restore(self.latest).assert_consumed()
        except (AssertionError, IndexError, ValueError, tf.errors.OpError) as error:
            raise InputError(
                f"checkpoint {self.latest} does not fit this model or is damaged: {str(error).splitlines()[0]}"
            ) from error
        return int(self._epoch.numpy())

    def on_epoch_end(self, epoch, logs=None):
        score = self._score({**(logs or {}), "epoch": epoch})
        if score > float(self._best.numpy()):
            self._choose()
            self._best.assign(score)
            self._chosen_epoch.assign(epoch + 1)
        self._epoch.assign(epoch + 1)
        self._manager.save(checkpoint_number=epoch + 1)


def has_checkpoint(folder):
    """Returns whether a folder holds a finished checkpoint."""
    return tf.train.latest_checkpoint(str(folder)) is not None
