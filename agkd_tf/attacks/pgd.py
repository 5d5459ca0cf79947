"""Projected gradient ascent, the one iteration behind every gradient attack here.

The step and the projection are cleverhans' (`optimize_linear`, `clip_eta`); the loop is ours because
cleverhans unrolls it in Python and draws its start from stateful randomness that XLA does not seed.
"""

import tensorflow as tf
from cleverhans.tf2.utils import clip_eta, optimize_linear


def projected_gradient_descent(
    objective,
    clean,
    *,
    eps,
    step_size,
    steps,
    start=None,
    bounds=(0.0, 1.0),
    norm=float("inf"),
    momentum=None,
    unroll=False,
):
    """Returns adversarial images that ascend `objective` within the eps-ball and the bounds.

    x_0 = clip(clean + start); x_{t+1} = clip(P_eps(clip(x_t + step_size * d_t))), with d_t the steepest
    direction (the gradient's sign for l_inf) of the gradient g_t, or with `momentum` of
    v_t = momentum * v_{t-1} + g_t / mean|g_t|. No gradient flows from the result.

    Args:
        objective: callable, images [B, H, W, C] -> float32 [B], each entry of its own image.
        clean: float32 [B, H, W, C] within the bounds.
        eps: radius of the ball, in units of the images; a float, or a tensor that broadcasts against them.
        step_size: length of a step, in the same units.
        steps: number of steps; 0 returns the start.
        start: float32 [B, H, W, C] displacement to begin with; None begins at `clean`.
        bounds: least and greatest pixel value.
        norm: inf or 2.
        momentum: decay of the accumulated gradient; None for none.
        unroll: False keeps the graph small with a `tf.while_loop`; True repeats the step in the graph,
            which XLA's CPU backend runs much faster.

    Returns:
        float32 [B, H, W, C].

    Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, 2018; momentum:
    Dong et al., Boosting Adversarial Attacks with Momentum, CVPR 2018.
    """

    def step(adv, velocity):
        direction = input_gradient(objective, adv)
        if momentum is not None:
            mean = tf.reduce_mean(tf.abs(direction), axis=[1, 2, 3], keepdims=True)
            direction = velocity = momentum * velocity + direction / tf.maximum(mean, 1e-12)
        moved = adv + steepest(direction, step_size, norm)
        return project(moved, clean, eps=eps, norm=norm, bounds=bounds), velocity

    adv = clean if start is None else project(clean + start, clean, eps=eps, norm=norm, bounds=bounds)
    velocity = tf.zeros([]) if momentum is None else tf.zeros_like(clean)
    if unroll:
        for _ in range(steps):
            adv, velocity = step(adv, velocity)
    elif steps:
        _, adv, _ = tf.while_loop(
            lambda count, *_: count < steps,
            lambda count, adv, velocity: (count + 1, *step(adv, velocity)),
            (tf.constant(0), adv, velocity),
            parallel_iterations=1,
        )
    return tf.stop_gradient(adv)


def steepest(gradient, length, norm=float("inf")):
    """Returns the step of a length (a float, or [B, 1, 1, 1]) that a linear function rises most by."""
    if norm == 2:
        # cleverhans divides by at least 1e-6, which would shorten the steps of small gradients.
        largest = tf.reduce_max(tf.abs(gradient), axis=[1, 2, 3], keepdims=True)
        gradient = gradient / tf.maximum(largest, 1e-30)
    return optimize_linear(gradient, length, norm)


def project(adv, clean, *, eps, norm=float("inf"), bounds=(0.0, 1.0)):
    """Returns the images within the eps-ball around `clean` and within the bounds.

    Bounds, ball, bounds. The last one only moves pixels towards `clean`, which lies within them, so that the image
    stays in the ball. AutoAttack's authors clip an l_2 step to the ball before the bounds, which cost part of its
    length; clipped before it, the step keeps more of it.

    Args:
        adv, clean: float32 [B, H, W, C]; `clean` lies within the bounds.
        eps: radius; a float, or a tensor that broadcasts against the images.
        norm: inf or 2.
        bounds: least and greatest pixel value.
    """
    adv = tf.clip_by_value(adv, *bounds)
    return tf.clip_by_value(clean + clip_eta(adv - clean, norm, eps), *bounds)


def input_gradient(objective, images):
    """Returns d sum(objective(images)) / d images, float32 [B, H, W, C]; zeros where nothing depends on them."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        value = tf.reduce_sum(objective(images))
    return tape.gradient(value, images, unconnected_gradients="zero")
