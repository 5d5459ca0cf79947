"""FAB-T: the fast adaptive boundary attack, targeted, which looks for the smallest perturbation.

Source: Croce and Hein, Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack,
ICML 2020, algorithm 1; constants of the authors' released code.
"""

import tensorflow as tf

from agkd_tf.attacks.projections import onto_hyperplane

ALPHA_MAX = 0.1  # how far a step may lean towards the clean image
OVERSHOOT = 1.05  # eta
BACKWARD = 0.9  # beta


def fast_adaptive_boundary(logits, clean, labels, targets, *, steps, enough=0.0, norm=float("inf"), bounds=(0.0, 1.0)):
    """Returns the misclassified images nearest to `clean` that were found, and their distances.

    Each step linearises z_target - z_label at the current point, projects both that point and the clean
    image on the boundary, and goes to a mean of the two, a little beyond. From a misclassified point it
    goes back by a tenth of the way.

    Args:
        logits: callable, images -> float32 [B, n].
        clean: float32 [B, H, W, C] within the bounds.
        labels, targets: int32 [B].
        steps: number of iterations.
        enough: a distance that ends the search for an image, and the loop when every image has it.
        norm: inf or 2.
        bounds: least and greatest pixel value.

    Returns:
        (float32 [B, H, W, C], float32 [B]); where nothing was found, the clean image and infinity.
    """
    shape, flat = tf.shape(clean), [tf.shape(clean)[0], clean.shape[1] * clean.shape[2] * clean.shape[3]]
    origin = tf.reshape(clean, flat)

    def length(displacement):
        if norm == 2:
            return tf.norm(displacement, axis=1)
        return tf.reduce_max(tf.abs(displacement), axis=1)

    def difference(scores):
        target, true = (tf.gather(scores, classes, batch_dims=1) for classes in (targets, labels))
        return target - true

    def misclassified(points):
        return tf.not_equal(tf.argmax(logits(tf.reshape(points, shape)), axis=1, output_type=tf.int32), labels)

    def iterate(count, point, found, distance):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(point)
            gap = difference(logits(tf.reshape(point, shape)))
            total = tf.reduce_sum(gap)
        normal = tape.gradient(total, point, unconnected_gradients="zero")
        offset = tf.reduce_sum(normal * point, axis=1) - gap
        steps_to = onto_hyperplane(
            tf.concat([point, origin], 0),
            tf.concat([normal, normal], 0),
            tf.concat([offset, offset], 0),
            norm=norm,
            bounds=bounds,
        )
        from_point, from_origin = tf.split(steps_to, 2)
        near, far = (tf.maximum(length(way), 1e-8) for way in (from_point, from_origin))
        alpha = tf.clip_by_value(near / (near + far), 0.0, ALPHA_MAX)[:, None]
        ahead = (1.0 - alpha) * (point + OVERSHOOT * from_point) + alpha * (origin + OVERSHOOT * from_origin)
        point = tf.clip_by_value(ahead, *bounds)
        fooled = misclassified(point)
        reached = length(point - origin)
        closer = tf.logical_and(fooled, tf.logical_and(reached < distance, distance > enough))
        found = tf.where(closer[:, None], point, found)
        distance = tf.where(closer, reached, distance)
        point = tf.where(fooled[:, None], origin + BACKWARD * (point - origin), point)
        return count + 1, point, found, distance

    _, _, found, distance = tf.while_loop(
        lambda count, point, found, distance: tf.logical_and(count < steps, tf.reduce_any(distance > enough)),
        iterate,
        (tf.constant(0), origin, origin, tf.fill(flat[:1], float("inf"))),
        parallel_iterations=1,
    )
    return tf.stop_gradient(tf.reshape(found, shape)), tf.stop_gradient(distance)
