"""Base class of the defenses that can mix the images of a batch, and their labels."""

from typing import Annotated, Any, ClassVar

import keras
import tensorflow as tf

from agkd_tf.data.augmentation.cutmix import cutmix as cutmix_batch
from agkd_tf.defenses.adversarial_defense import AdversarialDefense
from agkd_tf.errors import InputError
from agkd_tf.settings import Count


class MixingDefense(AdversarialDefense):
    """Base class of adversarial training and TRADES, which also train on soft labels.

    With CutMix, labels y are rows y_mix (see `agkd_tf.data.augmentation.cutmix`), the attack ascends
    KL(y_mix || p(x')), and CE_s is against y_mix, smoothed. The training accuracy is measured on the first copy,
    against the label of the image that a box was pasted into.

    Args:
        student: as `Defense`.
        **kwargs: as `AdversarialDefense`.

    Raises:
        InputError: for settings of CutMix without it, or where a derived defense needs one label per image.
    """

    # Whether the defense trains on soft labels; a derived one may need hard ones.
    takes_soft_labels: ClassVar[bool] = True

    def __init__(
        self,
        student: keras.Model,
        *,
        cutmix: Annotated[
            bool, "Paste a box of each image into another one of the batch, and mix their labels (CutMix)."
        ] = False,
        cutmix_window: Annotated[
            Count | None, "Side of CutMix's box in pixels; drawn for each batch if not given."
        ] = None,
        cutmix_copies: Annotated[Count, "How many times CutMix mixes each batch; all copies are trained on."] = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(student, **kwargs)
        if cutmix and not self.takes_soft_labels:
            raise InputError(
                f"`cutmix` mixes labels, and {type(self).__name__} needs one label per image: leave it out"
            )
        for name, given in (("cutmix_window", cutmix_window is not None), ("cutmix_copies", cutmix_copies != 1)):
            if given and not cutmix:
                raise InputError(f"`{name}` has no effect without `cutmix=True`")

    def mixed(self, clean: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns (images, soft labels float32 [B, n]) with `cutmix_copies` times as many rows, as CutMix mixes them.

        Args:
            clean: float32 [B, H, W, C] in [0, 1].
            labels: int32 [B].
            seed: int32 [2], the seed of this step.
        """
        return cutmix_batch(
            clean, labels, self.classifier.num_classes, seed, window=self.cutmix_window, copies=self.cutmix_copies
        )

    def own(self, logits: tf.Tensor) -> tf.Tensor:
        """Returns the logits that belong to the batch's labels: those of the first copy."""
        return tf.split(logits, self.cutmix_copies)[0]
