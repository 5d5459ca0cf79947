"""Square Attack: random search with square windows; it uses no gradient.

Source: Andriushchenko et al., Square Attack: a query-efficient black-box adversarial attack via random
search, ECCV 2020, algorithms 1 and 2; constants of the authors' released code as AutoAttack sets them.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated

import numpy as np
import tensorflow as tf

from agkd_tf.attacks.attack import Attack, named_with
from agkd_tf.attacks.ball import Ball
from agkd_tf.attacks.crafting import Logits, logits_at
from agkd_tf.attacks.pgd import Clean
from agkd_tf.attacks.standing import while_standing
from agkd_tf.logits import label_margin
from agkd_tf.randomness import named_seed, uniform_per_example, variant_seed
from agkd_tf.settings import LARGEST, Range

Judge = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
Draws = Callable[[str, tuple[int, ...]], tf.Tensor]
QUERIES = 5000
# The share p of the pixels that a window covers is halved after these queries.
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
SHARE = 0.8


@dataclasses.dataclass(frozen=True)
class SquareAttack(Attack):
    """The Square Attack on the margin, which uses no gradient.

    Attributes:
        queries: number of points tried per image.
        restarts: number of runs with different random numbers.
        named: name to use instead of the one that follows from the settings.
    """

    queries: Annotated[int, Range(0, LARGEST), "Points to try per image."] = QUERIES
    restarts: Annotated[int, Range(1, LARGEST), "Number of runs with different random numbers."] = 1
    named: Annotated[str | None, "Name to use instead of the one that follows from the settings."] = None

    @property
    def name(self) -> str:
        """`square`, then the settings that differ from their defaults."""
        return self.named or named_with("square", self, "queries")

    @property
    def spelling(self) -> str:
        """The name, with the number of restarts."""
        return self.name + (f"x{self.restarts}" if self.restarts > 1 else "")

    @property
    def variants(self) -> int:
        """Number of runs with different random numbers."""
        return self.restarts

    def resolve(self, num_classes: int | None) -> tuple[Attack, ...]:
        return (Clean(), self)

    def perturb(
        self,
        logits: Logits,
        images: tf.Tensor,
        labels: tf.Tensor,
        *,
        ball: Ball,
        indices: tf.Tensor,
        seed: tf.Tensor,
        variant: int | tf.Tensor = 0,
    ) -> tf.Tensor:
        seed = variant_seed(named_seed(seed, self.name), variant)

        def judge(adv: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
            return label_margin(logits_at(logits, rows)(adv), tf.gather(labels, rows))

        def draws(name: str, shape: tuple[int, ...]) -> tf.Tensor:
            return uniform_per_example(indices, shape, named_seed(seed, name))

        search = {"linf": square_linf, "l2": square_l2}[ball.norm]
        return search(judge, images, eps=ball.eps, queries=self.queries, draws=draws)

    def climbed(self, logits: Logits) -> None:
        return None

    def settings(self, ball: Ball) -> dict:
        return {
            "name": self.name,
            "eps": ball.eps,
            "norm": ball.norm,
            "queries": self.queries,
            "variants": self.restarts,
        }


def window_sides(queries: int, height: int, width: int) -> list[int]:
    """Returns the side of the square window in each query, in pixels."""
    shares = [SHARE / 2 ** sum(query > halving for halving in HALVINGS) for query in range(queries)]
    return [min(max(1, round((share * height * width) ** 0.5)), height, width) for share in shares]


def square_linf(
    judge: Judge,
    clean: tf.Tensor,
    *,
    eps: float,
    queries: int,
    draws: Draws,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> tf.Tensor:
    """Returns the images of smallest margin that a random search finds in the l_inf ball.

    It starts with vertical stripes of +-eps. Each query adds +-2 eps, with one sign per channel, in a window
    at a random place, projects onto the ball and the bounds, and keeps the point if the margin falls. Each
    image has its own windows, so that its result does not depend on its batch (the released code draws one
    place per batch). An image that is misclassified leaves the batch (`while_standing`).

    Args:
        judge: callable, (images [b, H, W, C], their rows in `clean`, int32 [b]) -> margins float32 [b], at most 0 where
            an image is misclassified.
        clean: float32 [B, H, W, C] within the bounds.
        eps: radius of the ball, in units of the images.
        queries: number of points tried after the start.
        draws: callable, (name, shape) -> float32 [B, *shape] from U(0, 1), drawn for each image separately.
        bounds: least and greatest pixel value.

    Returns:
        float32 [B, H, W, C].
    """
    height, width, channels = clean.shape[1:]
    sides = tf.constant(window_sides(queries, height, width))
    # Two numbers for the window's place, one for each channel's sign.
    table = draws("windows", (queries, 2 + channels))

    def propose(count: tf.Tensor, rows: tf.Tensor, clean: tf.Tensor, best: tf.Tensor) -> tf.Tensor:
        low, high = (tf.clip_by_value(clean + sign * eps, *bounds) for sign in (-1.0, 1.0))
        side, unit = sides[count], tf.gather(table[:, count], rows)
        top, left = _place(unit[:, 0], side, height), _place(unit[:, 1], side, width)
        change = 2.0 * eps * _signs(unit[:, 2:])[:, None, None, :]
        return tf.clip_by_value(best + _inside(top, left, side, height, width) * change, low, high)

    stripes = _signs(draws("stripes", (1, width, channels)))
    return _random_search(judge, propose, clean, tf.clip_by_value(clean + eps * stripes, *bounds), queries)


def square_l2(
    judge: Judge,
    clean: tf.Tensor,
    *,
    eps: float,
    queries: int,
    draws: Draws,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> tf.Tensor:
    """Returns the images of smallest margin that a random search finds in the l_2 ball.

    It starts with a grid of bumps. Each query removes the perturbation from one window at a random place and
    mixes a bump into another window, which gets the freed length and the length not yet spent. It then
    scales the whole perturbation to eps, clips the image to the bounds, and keeps the point if the margin falls.

    Args:
        judge, clean, queries, draws, bounds: as `square_linf`.
        eps: radius of the l_2 ball.

    Returns:
        float32 [B, H, W, C].
    """
    height, width, channels = clean.shape[1:]
    size = min(height, width)
    # Odd, at least 3, and within the image.
    sides = [min(max(3, side + (side + 1) % 2), size - (size + 1) % 2) for side in window_sides(queries, height, width)]
    distinct = sorted(set(sides))
    # For each side, the bump and its transpose at the top left of an empty image.
    bank = tf.constant(np.stack([bump_canvases(side, height, width) for side in distinct]), tf.float32)
    which = tf.constant([distinct.index(side) for side in sides])
    sides = tf.constant(sides)
    # The places of two windows, the bump's orientation, and one sign per channel.
    table = draws("windows", (queries, 5 + channels))

    def normalized(values: tf.Tensor, axes: list[int]) -> tf.Tensor:
        return values / tf.maximum(_length(values, axes), 1e-12)

    def point(clean: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value(clean + eps * normalized(delta, [1, 2, 3]), *bounds)

    def propose(count: tf.Tensor, rows: tf.Tensor, clean: tf.Tensor, best: tf.Tensor) -> tf.Tensor:
        side, unit = sides[count], tf.gather(table[:, count], rows)
        top, left = _place(unit[:, 0], side, height), _place(unit[:, 1], side, width)
        window = _inside(top, left, side, height, width)
        other = _inside(_place(unit[:, 2], side, height), _place(unit[:, 3], side, width), side, height, width)
        delta = best - clean
        turned = tf.cast(unit[:, 4] < 0.5, tf.int32)
        bump = _shifted(tf.gather(bank[which[count]], turned), top, left)[..., None]
        mixed = bump * _signs(unit[:, 5:])[:, None, None, :] + normalized(delta * window, [1, 2])
        unspent = tf.maximum(eps**2 - _length(delta, [1, 2, 3]) ** 2, 0.0) / channels
        freed = _length(delta * tf.maximum(window, other), [1, 2, 3]) ** 2
        mixed = normalized(mixed * window, [1, 2]) * tf.sqrt(unspent + freed)
        return point(clean, delta * (1.0 - other) * (1.0 - window) + mixed)

    return _random_search(judge, propose, clean, point(clean, _bump_grid(height, width, channels, draws)), queries)


def _random_search(
    judge: Judge,
    propose: Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor],
    clean: tf.Tensor,
    best: tf.Tensor,
    queries: int,
) -> tf.Tensor:
    """Returns, per image, the best of the points that are proposed one after the other."""

    def query(count: tf.Tensor, rows: tf.Tensor, state: tuple) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        clean, best, margin = state
        tried = propose(count, rows, clean, best)
        tried_margin = judge(tried, rows)
        # An image that is misclassified already stays as it is.
        better = tf.logical_and(tried_margin < margin, margin > 0)
        best = tf.where(better[:, None, None, None], tried, best)
        return clean, best, tf.where(better, tried_margin, margin)

    return while_standing(
        query,
        (clean, best, judge(best, tf.range(tf.shape(best)[0]))),
        steps=queries,
        done=lambda state: ~(state[2] > 0),  # a NaN margin never rises again
        output=lambda state: state[1],
    )


def _bump_grid(height: int, width: int, channels: int, draws: Draws) -> tf.Tensor:
    side = min(max(min(height, width) // 5, 2), height, width)
    down, across = height // side, width // side
    top, left = (height - down * side) // 2, (width - across * side) // 2
    unit = draws("grid", (down, across, 1 + channels))
    bumps = tf.constant(bump_canvases(side, side, side), tf.float32)
    cells = tf.gather(bumps, tf.cast(unit[..., 0] < 0.5, tf.int32))
    # [B, down, across, side, side, C] to [B, down * side, across * side, C].
    cells = cells[..., None] * _signs(unit[..., 1:])[:, :, :, None, None, :]
    cells = tf.transpose(cells, [0, 1, 3, 2, 4, 5])
    grid = tf.reshape(cells, [-1, down * side, across * side, channels])
    below, right = height - down * side - top, width - across * side - left
    return tf.pad(grid, [[0, 0], [top, below], [left, right], [0, 0]])


def bump_canvases(side: int, height: int, width: int) -> np.ndarray:
    """Returns a bump with a given side, and its transpose, at the top left of empty images: [2, height, width]."""
    half = side // 2
    bump = np.concatenate([_pyramid(half, side), -_pyramid(side - half, side)])
    bump /= np.linalg.norm(bump)
    canvases = np.zeros((2, height, width))
    canvases[0, :side, :side], canvases[1, :side, :side] = bump, bump.T
    return canvases


def _pyramid(height: int, width: int) -> np.ndarray:
    """Returns sum_k (k + 1)^-2 over the squares of half side k around the middle, scaled to norm 1."""
    rows, columns = (np.abs(np.arange(size) - size // 2) for size in (height, width))
    ring = np.maximum(rows[:, None], columns[None, :])
    levels = 1.0 / np.arange(1, max(height, width) // 2 + 2) ** 2
    heights = np.cumsum(levels[::-1])[::-1]  # a pixel in ring r lies in all squares from r on
    profile = heights[np.minimum(ring, len(heights) - 1)]
    return profile / np.linalg.norm(profile)


def _signs(unit: tf.Tensor) -> tf.Tensor:
    return tf.where(unit < 0.5, -1.0, 1.0)


def _place(unit: tf.Tensor, side: tf.Tensor, size: int) -> tf.Tensor:
    return tf.minimum(tf.cast(unit * tf.cast(size - side + 1, tf.float32), tf.int32), size - side)


def _inside(top: tf.Tensor, left: tf.Tensor, side: tf.Tensor, height: int, width: int) -> tf.Tensor:
    rows, columns = tf.range(height)[None, :], tf.range(width)[None, :]
    top, left = top[:, None], left[:, None]
    rows, columns = ((rows >= top) & (rows < top + side)), ((columns >= left) & (columns < left + side))
    return tf.cast(rows[:, :, None, None] & columns[:, None, :, None], tf.float32)


def _shifted(canvas: tf.Tensor, top: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
    """Returns images [B, H, W] moved down and to the right."""
    height, width = canvas.shape[1:]
    rows, columns = (tf.range(height) - top[:, None]) % height, (tf.range(width) - left[:, None]) % width
    return tf.gather(tf.gather(canvas, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)


def _length(values: tf.Tensor, axes: list[int]) -> tf.Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(values), axis=axes, keepdims=True))
