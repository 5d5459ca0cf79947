"""Auto-PGD: projected gradient ascent with momentum that halves its own steps.

Source: Croce and Hein, Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
Parameter-free Attacks, ICML 2020, algorithm 1; constants of the authors' released code.
"""

from typing import NamedTuple

import tensorflow as tf

from agkd_tf.attacks.pgd import project, steepest

MOMENTUM = 0.75  # share of the plain step in the next point
INCREASE_SHARE = 0.75  # of an interval's steps that must raise the objective, or the step is halved


class State(NamedTuple):
    """What one iteration hands to the next; all per image but `count`."""

    count: tf.Tensor
    adv: tf.Tensor
    previous: tf.Tensor
    gradient: tf.Tensor
    value: tf.Tensor
    best: tf.Tensor
    best_gradient: tf.Tensor
    best_value: tf.Tensor
    found: tf.Tensor
    fooled: tf.Tensor
    step_size: tf.Tensor
    increases: tf.Tensor
    checked_value: tf.Tensor
    halved: tf.Tensor


def checkpoints(steps):
    """Returns the interval's length at each of `steps` iterations that ends one, and 0 at the others."""
    lengths, interval, since = [0] * steps, max(int(0.22 * steps), 1), 0
    for step in range(steps):
        since += 1
        if since == interval:
            lengths[step], since = interval, 0
            interval = max(interval - max(int(0.03 * steps), 1), max(int(0.06 * steps), 1))
    return lengths


def auto_pgd(judge, clean, *, eps, steps, start, norm=float("inf"), bounds=(0.0, 1.0)):
    """Returns (adversarial images, the objective's best values), by Auto-PGD.

    x_{t+1} = P(x_t + 0.75 (P(x_t + s g) - x_t) + 0.25 (x_t - x_{t-1})), from the step s = 2 eps. At each
    checkpoint, s is halved and the search returns to the best point where the objective rose in at most
    75 % of the steps since the last one, or where s was not halved then and the best value has not
    improved since. The loop ends early when every image is fooled.

    Args:
        judge: callable, images [B, H, W, C] -> (objective float32 [B] to ascend, fooled bool [B]), each
            entry of its own image.
        clean: float32 [B, H, W, C] within the bounds.
        eps: radius of the ball, in units of the images.
        steps: number of iterations.
        start: float32 [B, H, W, C] displacement to begin with.
        norm: inf or 2.
        bounds: least and greatest pixel value.

    Returns:
        float32 [B, H, W, C]: where an image was fooled, the first point that fools it, elsewhere its best
        point; and float32 [B]. The best value never falls below the starting one.
    """
    lengths = tf.constant(checkpoints(steps))

    def projected(adv):
        return project(adv, clean, eps=eps, norm=norm, bounds=bounds)

    def look(adv):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(adv)
            value, fooled = judge(adv)
            total = tf.reduce_sum(value)
        return value, fooled, tape.gradient(total, adv, unconnected_gradients="zero")

    def iterate(s):
        momentum = tf.where(s.count > 0, MOMENTUM, 1.0)
        step_size = _per_image(s.step_size)
        plain = projected(s.adv + steepest(s.gradient, step_size, norm))
        adv = projected(s.adv + momentum * (plain - s.adv) + (1.0 - momentum) * (s.adv - s.previous))
        value, fooled, gradient = look(adv)
        better = value > s.best_value
        best, best_gradient = _where(better, adv, s.best), _where(better, gradient, s.best_gradient)
        best_value = tf.where(better, value, s.best_value)
        increases = s.increases + tf.cast(value > s.value, tf.int32)

        length = lengths[s.count]
        checked = length > 0
        oscillates = tf.cast(increases, tf.float32) <= INCREASE_SHARE * tf.cast(length, tf.float32)
        stalls = tf.logical_and(~s.halved, s.checked_value >= best_value)
        halve = tf.logical_and(checked, tf.logical_or(oscillates, stalls))
        return (
            State(
                count=s.count + 1,
                adv=_where(halve, best, adv),
                previous=s.adv,
                gradient=_where(halve, best_gradient, gradient),
                value=value,
                best=best,
                best_gradient=best_gradient,
                best_value=best_value,
                # The first point that fools: it does not depend on how long the rest of the batch goes on.
                found=_where(s.fooled, s.found, adv),
                fooled=tf.logical_or(s.fooled, fooled),
                step_size=tf.where(halve, s.step_size / 2, s.step_size),
                increases=tf.where(checked, tf.zeros_like(increases), increases),
                checked_value=tf.where(checked, best_value, s.checked_value),
                halved=tf.where(checked, halve, s.halved),
            ),
        )

    adv = projected(clean + start)
    value, fooled, gradient = look(adv)
    begin = State(
        count=tf.constant(0),
        adv=adv,
        previous=adv,
        gradient=gradient,
        value=value,
        best=adv,
        best_gradient=gradient,
        best_value=value,
        found=adv,
        fooled=fooled,
        step_size=tf.fill(tf.shape(value), tf.constant(2.0 * eps)),
        increases=tf.zeros(tf.shape(value), tf.int32),
        checked_value=value,
        halved=tf.ones(tf.shape(value), tf.bool),
    )
    (end,) = tf.while_loop(
        lambda s: tf.logical_and(s.count < steps, ~tf.reduce_all(s.fooled)),
        iterate,
        (begin,),
        parallel_iterations=1,
    )
    return tf.stop_gradient(_where(end.fooled, end.found, end.best)), tf.stop_gradient(end.best_value)


def _per_image(values):
    return values[:, None, None, None]


def _where(condition, a, b):
    return tf.where(_per_image(condition), a, b)
