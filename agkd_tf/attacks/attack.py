"""What an attack for evaluation is: a complete set of settings that can be called."""

import abc
import dataclasses

from agkd_tf.models import logits_of


class Attack(abc.ABC):
    """Base of the attacks, which are dataclasses of their settings.

    Attributes:
        name: keys the random numbers.
        variants: runs, from other starts or towards other classes; an image is attacked by each in turn.
    """

    name: str
    variants: int

    def __call__(self, logits, images, labels, indices, seed, variant=0):
        """Returns adversarial images.

        Args:
            logits: callable, float32 images [B, H, W, C] in [0, 1] -> float32 logits [B, n]; or a `keras.Model`, whose
                logits in inference mode are attacked.
            images: float32 [B, H, W, C] in [0, 1].
            labels: int32 [B].
            indices: int32 [B], the examples' places in the data set; they key the random numbers.
            seed: int32 [2].
            variant: integer in [0, variants), Python's or a tensor.

        Returns:
            float32 [B, H, W, C].
        """
        return self.perturb(logits_of(logits), images, labels, indices, seed, variant)

    @abc.abstractmethod
    def perturb(self, logits, images, labels, indices, seed, variant):
        """As `__call__`, of a callable to logits."""

    def check_images(self, images):  # noqa: B027  most attacks take any images
        """Checks images before they are attacked: uint8, or float in [0, 1], [N, H, W, C].

        Raises:
            InputError: if the attack is not for such images.
        """

    def climbed(self, logits):
        """Returns (callable to logits whose gradient the attack follows, whether by the cross-entropy), or None.

        Args:
            logits: callable, the network at hand.
        """
        return logits, getattr(self, "objective", None) == "cross_entropy"

    def settings(self):
        """Returns what a record of a result needs to name, as a dict for JSON."""
        return dataclasses.asdict(self)
