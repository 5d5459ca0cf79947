"""AutoAttack: an ensemble of parameter-free attacks, each on what the ones before left standing.

Source: Croce and Hein, Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
Parameter-free Attacks, ICML 2020; constants of the authors' released code ("standard").
"""

import dataclasses

import tensorflow as tf

from agkd_tf.attacks.apgd import auto_pgd
from agkd_tf.attacks.attack import Attack
from agkd_tf.attacks.fab import fast_adaptive_boundary
from agkd_tf.attacks.gradient_attack import NORMS
from agkd_tf.attacks.objectives import cross_entropy, margin
from agkd_tf.attacks.square import square_l2, square_linf
from agkd_tf.attacks.starts import edge_per_example
from agkd_tf.errors import InputError
from agkd_tf.logits import (
    difference_of_logits_ratio,
    label_margin,
    ranked_other_class,
    targeted_difference_of_logits_ratio,
)
from agkd_tf.randomness import named_seed, uniform_per_example, variant_seed

ITERATIONS, TARGETS, QUERIES, PASSES = 100, 9, 5000, 20
# What a ratio needs at least; with fewer classes the margin takes its place.
CLASSES_NEEDED = {"dlr": 3, "targeted_dlr": 4}
UNTARGETED = {"cross_entropy": cross_entropy, "dlr": difference_of_logits_ratio, "margin": margin}


@dataclasses.dataclass(frozen=True)
class AutoPGD(Attack):
    """Auto-PGD from a random point of the ball's edge.

    Attributes:
        name: keys the random numbers.
        objective: cross_entropy, dlr, targeted_dlr or margin.
        eps: radius, in units of images in [0, 1].
        norm: linf or l2.
        steps: iterations.
        variants: runs; of targeted_dlr, the k-th approaches the clean image's k-th wrong class.
        passes: forward passes that each look at a point is the mean of; more than one for random networks.
    """

    name: str
    objective: str
    eps: float
    norm: str = "linf"
    steps: int = ITERATIONS
    variants: int = 1
    passes: int = 1

    def perturb(self, logits, images, labels, indices, seed, variant=0):
        seed = variant_seed(named_seed(seed, self.name), variant)
        objective = self._objective(logits(images), labels, variant)

        def judge(adv):
            scores = [logits(adv) for _ in range(self.passes)]
            seen = tf.argmax(tf.add_n(scores), axis=1, output_type=tf.int32)
            return tf.add_n([objective(each) for each in scores]) / self.passes, tf.not_equal(seen, labels)

        start = edge_per_example(indices, images.shape[1:], seed, self.eps, self.norm)
        adv, _ = auto_pgd(judge, images, eps=self.eps, steps=self.steps, start=start, norm=NORMS[self.norm])
        return adv

    def _objective(self, clean_logits, labels, variant):
        if self.objective != "targeted_dlr":
            return lambda scores: UNTARGETED[self.objective](scores, labels)
        targets = ranked_other_class(clean_logits, labels, variant + 1)
        return lambda scores: targeted_difference_of_logits_ratio(scores, labels, targets)


@dataclasses.dataclass(frozen=True)
class FastAdaptiveBoundary(Attack):
    """FAB-T; where no perturbation within eps was found, the clean image is returned.

    Attributes:
        name, eps, norm, steps: as `AutoPGD`.
        variants: runs; the k-th approaches the clean image's k-th wrong class.
    """

    name: str
    eps: float
    norm: str = "linf"
    steps: int = ITERATIONS
    variants: int = 1

    def perturb(self, logits, images, labels, indices, seed, variant=0):
        targets = ranked_other_class(logits(images), labels, variant + 1)
        found, distance = fast_adaptive_boundary(
            logits, images, labels, targets, steps=self.steps, enough=self.eps, norm=NORMS[self.norm]
        )
        return tf.where((distance <= self.eps)[:, None, None, None], found, images)


@dataclasses.dataclass(frozen=True)
class SquareAttack(Attack):
    """The Square Attack on the margin, which uses no gradient.

    Attributes:
        name, eps, norm: as `AutoPGD`.
        queries: points tried an image.
        variants: runs from different random numbers.
    """

    name: str
    eps: float
    norm: str = "linf"
    queries: int = QUERIES
    variants: int = 1

    def perturb(self, logits, images, labels, indices, seed, variant=0):
        seed = variant_seed(named_seed(seed, self.name), variant)

        def judge(adv):
            return label_margin(logits(adv), labels)

        def draws(name, shape):
            return uniform_per_example(indices, shape, named_seed(seed, name))

        search = {"linf": square_linf, "l2": square_l2}[self.norm]
        return search(judge, images, eps=self.eps, queries=self.queries, draws=draws)

    def climbed(self, logits):
        return None


def apgd_ce(eps, norm="linf", **_):
    """Returns the parts of APGD-CE."""
    return (AutoPGD("apgd-ce", "cross_entropy", eps, norm),)


def apgd_dlr(eps, norm="linf", *, num_classes):
    """Returns the parts of APGD-DLR, which the masked-gradient audit compares with APGD-CE."""
    return (AutoPGD("apgd-dlr", _ratio("dlr", num_classes), eps, norm),)


def apgd_t(eps, norm="linf", *, num_classes):
    """Returns the parts of APGD-T, with up to 9 targets."""
    variants = _targets(num_classes)
    return (AutoPGD("apgd-t", _ratio("targeted_dlr", num_classes), eps, norm, variants=variants),)


def fab_t(eps, norm="linf", *, num_classes):
    """Returns the parts of FAB-T, with up to 9 targets."""
    return (FastAdaptiveBoundary("fab-t", eps, norm, variants=_targets(num_classes)),)


def square(eps, norm="linf", **_):
    """Returns the parts of the Square Attack."""
    return (SquareAttack("square", eps, norm),)


def auto_attack(eps, norm="linf", *, num_classes):
    """Returns the parts of standard AutoAttack: APGD-CE, APGD-T, FAB-T, Square."""
    targeted = {"num_classes": num_classes}
    return (*apgd_ce(eps, norm), *apgd_t(eps, norm, **targeted), *fab_t(eps, norm, **targeted), *square(eps, norm))


def auto_attack_rand(eps, norm="linf", *, num_classes):
    """Returns the parts of AutoAttack's version for random networks: APGD-CE and APGD-DLR on the mean of 20 passes."""
    parts = (*apgd_ce(eps, norm), *apgd_dlr(eps, norm, num_classes=num_classes))
    return tuple(dataclasses.replace(part, passes=PASSES) for part in parts)


def _ratio(name, num_classes):
    return "margin" if _known(num_classes) < CLASSES_NEEDED[name] else name


def _known(num_classes):
    if num_classes is None:
        raise InputError("this attack needs the number of classes: num_classes=...")
    return num_classes


def _targets(num_classes):
    return min(TARGETS, _known(num_classes) - 1)
