"""What every defense that trains on adversaries shares: the training attack and its settings."""

from agkd_tf.attacks import PGD, Ball
from agkd_tf.defenses.defense import Defense
from agkd_tf.errors import check_eps, check_range

# XLA's CPU backend runs convolutions inside a loop body slowly, so short attacks are unrolled there.
UNROLLED_STEPS = 10


class AdversarialDefense(Defense):
    """Base of the defenses that attack the student while it learns.

    The attack sees the student in inference mode and leaves its BN statistics alone.

    Args:
        student: as `Defense`.
        attack_steps: steps of the training attack.
        attack_step_size: its step, in units of images in [0, 1]; None for `eps` up to 2 steps and
            `eps / 4` beyond.
        random_start: whether the attack begins at a random point instead of the image.
        start_stddev: standard deviation of a Gaussian start, in the same units; None for a uniform point
            of the ball.
        **kwargs: as `Defense`.
    """

    def __init__(
        self,
        student,
        *,
        attack_steps=10,
        attack_step_size=None,
        random_start=True,
        start_stddev=None,
        **kwargs,
    ):
        super().__init__(student, **kwargs)
        self.attack_steps = check_range("attack_steps", attack_steps, 0)
        if attack_step_size is None:
            attack_step_size = self.eps if attack_steps <= 2 else self.eps / 4
        self.attack_step_size = check_eps("attack_step_size", attack_step_size)
        self.random_start = random_start
        self.start_stddev = None if start_stddev is None else check_eps("start_stddev", start_stddev)

    def perturb(self, images, objective, seed, *, eps=None, batches=1):
        """Returns the training attack's adversaries of `images`.

        Args:
            images: float32 [B, H, W, C] in [0, 1].
            objective: callable, student's logits [B, n] -> float32 [B] or a scalar, to ascend.
            seed: int32 [2].
            eps: radius; a tensor that broadcasts against the images, or None for the defense's own.
            batches: how many batches, one behind the other, the images are.

        Returns:
            float32 [B, H, W, C] without gradient.
        """
        attack = PGD(
            self.attack_steps,
            # Steps of no length where there are none; a Gaussian where there is a start.
            step_size=self.attack_step_size if self.attack_steps else None,
            random_start=self.random_start,
            start_stddev=self.start_stddev if self.random_start else None,
        )
        return attack.craft(
            lambda adv: objective(self.classifier.logits(adv)),
            images,
            ball=Ball("linf", self.eps if eps is None else eps),
            seed=seed,
            batches=batches,
            unroll=self.use_xla and self.attack_steps <= UNROLLED_STEPS,
        )

    def get_config(self):
        return {
            **super().get_config(),
            "attack_steps": self.attack_steps,
            "attack_step_size": self.attack_step_size,
            "random_start": self.random_start,
            "start_stddev": self.start_stddev,
        }
