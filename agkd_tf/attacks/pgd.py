"""Projected gradient ascent, the one iteration behind every gradient attack here.

The step and the projection are cleverhans' (`optimize_linear`, `clip_eta`); the loop is ours because
cleverhans unrolls it in Python and draws its start from stateful randomness that XLA does not seed.
"""

import tensorflow as tf
from cleverhans.tf2.utils import clip_eta, optimize_linear


def projected_gradient_descent(
    objective, clean, *, eps, step_size, steps, start=None, bounds=(0.0, 1.0), norm=float("inf"), unroll=False
):
    """Returns adversarial images that ascend `objective` within the eps-ball and the bounds.

    x_0 = clip(clean + start); x_{t+1} = clip(P_eps(clip(x_t + step_size * d_t))), with d_t the steepest
    direction (the gradient's sign for l_inf). No gradient flows from the result.

    Args:
        objective: callable, images [B, H, W, C] -> float32 [B], each entry of its own image.
        clean: float32 [B, H, W, C] within the bounds.
        eps: radius of the ball, in units of the images; a float, or a tensor that broadcasts against them.
        step_size: length of a step, in the same units.
        steps: number of steps; 0 returns the start.
        start: float32 [B, H, W, C] displacement to begin with; None begins at `clean`.
        bounds: least and greatest pixel value.
        norm: inf or 2.
        unroll: False keeps the graph small with a `tf.while_loop`; True repeats the step in the graph,
            which XLA's CPU backend runs much faster.

    Returns:
        float32 [B, H, W, C].

    Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, 2018.
    """

    def project(adv):
        adv = tf.clip_by_value(adv, *bounds)
        return tf.clip_by_value(clean + clip_eta(adv - clean, norm, eps), *bounds)

    def step(adv):
        direction = input_gradient(objective, adv)
        return project(adv + optimize_linear(direction, step_size, norm))

    adv = clean if start is None else project(clean + start)
    if unroll:
        for _ in range(steps):
            adv = step(adv)
    elif steps:
        _, adv = tf.while_loop(
            lambda count, _: count < steps,
            lambda count, adv: (count + 1, step(adv)),
            (tf.constant(0), adv),
            parallel_iterations=1,
        )
    return tf.stop_gradient(adv)


def input_gradient(objective, images):
    """Returns d sum(objective(images)) / d images, float32 [B, H, W, C]."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        value = tf.reduce_sum(objective(images))
    return tape.gradient(value, images)
