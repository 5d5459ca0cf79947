"""Black-box attacks by transfer: crafted on another network, scored on the one at hand."""

import dataclasses
from collections.abc import Callable

from agkd_tf.attacks.attack import Attack


@dataclasses.dataclass(frozen=True)
class TransferAttack(Attack):
    """An attack on a source network, whose adversaries are then shown to the network at hand.

    Attributes:
        name: keys the random numbers.
        attack: the attack on the source, for example `agkd_tf.attacks.pgd_attack(20, eps=8 / 255)`. Which one and which
            sources the published black-box accuracies are of is not said.
        source: callable, float32 images [B, H, W, C] in [0, 1] -> float32 logits [B, n].
        source_digest: what identifies the source in a record.
    """

    name: str
    attack: Attack
    source: Callable
    source_digest: str

    @property
    def variants(self):
        """Runs of the attack."""
        return self.attack.variants

    def perturb(self, logits, images, labels, indices, seed, variant=0):
        return self.attack(self.source, images, labels, indices, seed, variant)

    def climbed(self, logits):
        return self.attack.climbed(self.source)

    def settings(self):
        return {"name": self.name, "source_sha256": self.source_digest, "attack": self.attack.settings()}
