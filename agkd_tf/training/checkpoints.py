"""Checkpoints of a training: everything a resumed run needs to equal an unbroken one."""

import keras
import tensorflow as tf

from agkd_tf.errors import InputError


class Checkpoints(keras.callbacks.Callback):
    """Saves a defense after each epoch and restores the newest checkpoint.

    Randomness needs no state of its own: batches, augmentation and attacks are functions of the seed
    and of the step, which is saved.

    Args:
        folder: where the checkpoints are.
        defense: a compiled `Defense`; its optimizer is built here.
        keep: how many checkpoints stay.
        on_save: callable without arguments, called after each save.
    """

    def __init__(self, folder, defense, *, keep=2, on_save=None):
        super().__init__()
        defense.optimizer.build(defense.student.trainable_variables)
        self._epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
        state = tf.train.Checkpoint(epoch=self._epoch, **defense.checkpointed())
        self._state = state
        self._manager = tf.train.CheckpointManager(state, str(folder), max_to_keep=keep)
        self._on_save = on_save

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
        return int(self._epoch)

    def on_epoch_end(self, epoch, logs=None):
        self._epoch.assign(epoch + 1)
        self._manager.save(checkpoint_number=epoch + 1)
        if self._on_save:
            self._on_save()


def has_checkpoint(folder):
    """Returns whether a folder holds a finished checkpoint."""
    return tf.train.latest_checkpoint(str(folder)) is not None
