"""The ball that perturbations stay in: a norm and a radius."""

import dataclasses
import math
import typing
from typing import Any, Literal

import numpy as np
import tensorflow as tf
from cleverhans.tf2.utils import clip_eta, optimize_linear

from agkd_tf.errors import InputError, check_choice, check_eps, check_range
from agkd_tf.randomness import named_seed, normal, normal_per_example, uniform, uniform_per_example

Norm = Literal["linf", "l2"]
NORMS: tuple[Norm, ...] = typing.get_args(Norm)
ORDERS = {"linf": np.inf, "l2": 2}  # as cleverhans and NumPy name them
# How much float32 rounding may add to a perturbation's length: relative, and in units of images in [0, 1].
RELATIVE_SLACK, SLACK = 1e-5, 1e-6


@dataclasses.dataclass(frozen=True)
class Ball:
    """All perturbations of length up to eps, in one norm.

        ball = Ball("linf", 8 / 255)
        adv = ball.project(images + ball.steepest(gradient, 2 / 255), images)

    The step and the projection are cleverhans' (`optimize_linear`, `clip_eta`).

    Attributes:
        norm: linf, the largest change of a pixel; or l2, the Euclidean length of all changes in an image.
        eps: radius, in units of images in [0, 1]; a number, or a float32 tensor [B, 1, 1, 1] with a radius per image.

    Raises:
        InputError: for another norm, or an invalid radius: l_inf radii lie in [0, 1].
    """

    norm: Norm
    eps: float | tf.Tensor

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, NORMS)
        eps = self.eps
        if isinstance(eps, tf.Tensor):
            if eps.shape.rank == 0 and not tf.is_symbolic_tensor(eps):
                eps = eps.numpy()  # to be checked as a number
            elif eps.shape.rank in (0, 4, None):
                return
        if not isinstance(eps, int | float | np.integer | np.floating) or isinstance(eps, bool):
            raise InputError(f"`eps` must be a number, or a tensor [B, 1, 1, 1]. Received: {eps!r}")
        eps = float(eps)
        object.__setattr__(self, "eps", check_eps("eps", eps) if self.norm == "linf" else check_range("eps", eps, 0.0))
        if math.isinf(eps):
            raise InputError(f"`eps` must be a finite number. Received: {eps}")

    def project(self, adv: tf.Tensor, clean: tf.Tensor, bounds: tuple[float, float] = (0.0, 1.0)) -> tf.Tensor:
        """Returns the images projected onto the ball around `clean`, within the bounds.

        Images are clipped to the bounds, projected onto the ball, and clipped to the bounds again. The last clip only
        moves pixels towards `clean`, which lies within the bounds, so images stay in the ball. AutoAttack's authors
        project an l_2 step onto the ball before they clip it, and clipping then costs part of its length; clipping
        first keeps more of it.

        Args:
            adv, clean: float32 [B, H, W, C]; `clean` lies within the bounds.
            bounds: least and greatest pixel value.
        """
        adv = tf.clip_by_value(adv, *bounds)
        return tf.clip_by_value(clean + clip_eta(adv - clean, ORDERS[self.norm], self.eps), *bounds)

    def steepest(self, gradient: tf.Tensor, length: float | tf.Tensor) -> tf.Tensor:
        """Returns the step along which a linear function rises most: for l_inf, the gradient's sign times `length`.

        Args:
            gradient: float32 [B, H, W, C].
            length: length of the step; a number, or float32 [B, 1, 1, 1].
        """
        if self.norm == "l2":
            # cleverhans divides by at least 1e-6, which would shorten the steps of small gradients.
            largest = tf.reduce_max(tf.abs(gradient), axis=[1, 2, 3], keepdims=True)
            gradient = gradient / tf.maximum(largest, 1e-30)
        return optimize_linear(gradient, length, ORDERS[self.norm])

    def length(self, displacement: tf.Tensor) -> tf.Tensor:
        """Returns float32 [B], the lengths of displacements [B, ...] in the ball's norm."""
        displacement = tf.convert_to_tensor(displacement)
        if displacement.shape.rank != 2:
            displacement = tf.reshape(displacement, [tf.shape(displacement)[0], -1])
        if self.norm == "l2":
            return tf.norm(displacement, axis=1)
        return tf.reduce_max(tf.abs(displacement), axis=1)

    @property
    def limit(self) -> float | tf.Tensor:
        """The length up to which a displacement lies in the ball, which includes rounding; of the form of eps."""
        return self.eps * (1 + RELATIVE_SLACK) + SLACK

    def contains(self, displacement: tf.Tensor) -> tf.Tensor:
        """Returns bool [B]: which displacements [B, ...] lie in the ball, up to rounding; NaN does not."""
        return self.length(displacement) <= tf.reshape(self.limit, [-1])

    def sample(self, shape: tf.Tensor, seed: tf.Tensor, *, batches: int = 1) -> tf.Tensor:
        """Returns displacements drawn uniformly from the ball for a training batch: float32 [B, H, W, C].

        With several replicas, each gets its part of what a single replica with the whole batch would draw.

        Args:
            shape: int32 [4], (B, H, W, C) of this replica's part; a tensor, or a tuple without None.
            seed: int32 [2].
            batches: number of batches that are concatenated in the images.
        """
        if self.norm == "linf":
            return -self.eps + 2 * self.eps * batch_draw(uniform, shape, seed, batches)
        one_each = tf.concat([shape[:1], [1, 1, 1]], 0)
        radius = batch_draw(uniform, one_each, named_seed(seed, "radius"), batches)
        dimensions = tf.cast(tf.reduce_prod(shape[1:]), tf.float32)
        return self.eps * radius ** (1.0 / dimensions) * _unit(batch_draw(normal, shape, seed, batches))

    def sample_per_example(self, indices: tf.Tensor, shape: tuple[int, ...], seed: tf.Tensor) -> tf.Tensor:
        """Returns displacements drawn uniformly from the ball for an evaluation: float32 [B, H, W, C].

        Each depends only on the seed and on its image's index, so that an adversarial image does not depend on its
        batch.

        Args:
            indices: int32 [B], each example's index in the data set.
            shape: (H, W, C).
            seed: int32 [2].
        """
        if self.norm == "linf":
            if isinstance(self.eps, tf.Tensor):
                return self.eps * uniform_per_example(indices, shape, seed, -1.0, 1.0)
            return uniform_per_example(indices, shape, seed, -self.eps, self.eps)
        radius = uniform_per_example(indices, (1, 1, 1), named_seed(seed, "radius")) ** (1.0 / math.prod(shape))
        return self.eps * radius * _unit(normal_per_example(indices, shape, seed))

    def edge_per_example(self, indices: tf.Tensor, shape: tuple[int, ...], seed: tf.Tensor) -> tf.Tensor:
        """Returns displacements of length eps in a random direction, float32 [B, H, W, C].

        For l_inf, a point is drawn uniformly from the cube and scaled to its surface, as Auto-PGD starts.

        Args:
            indices, shape, seed: as `sample_per_example`.
        """
        if self.norm == "linf":
            drawn = uniform_per_example(indices, shape, seed, -1.0, 1.0)
            return self.eps * drawn / tf.reduce_max(tf.abs(drawn), axis=[1, 2, 3], keepdims=True)
        return self.eps * _unit(normal_per_example(indices, shape, seed))


def batch_draw(draw: Any, shape: tf.Tensor, seed: tf.Tensor, batches: int) -> tf.Tensor:
    """Returns a training batch's random numbers, float32 of `shape`: [B, H, W, C].

    Args:
        draw: `agkd_tf.randomness.uniform` or `normal`.
        shape: int32 [4], of this replica's part.
        seed: int32 [2].
        batches: number of batches that are concatenated in the images; replicas share each of them.
    """
    each = tf.concat([[batches, shape[0] // batches], shape[1:]], 0)
    return tf.reshape(draw(each, seed, batch_axis=1), shape)


def _unit(vectors: tf.Tensor) -> tf.Tensor:
    return tf.math.l2_normalize(vectors, axis=[1, 2, 3])
