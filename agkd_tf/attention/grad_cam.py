"""Grad-CAM: the class-relevant attention map.

Source: Selvaraju et al., Grad-CAM, ICCV 2017.
"""

import tensorflow as tf


def grad_cam(classifier, images, classes):
    """Returns ReLU(sum_k a_k F_k), with a_k = mean over places of dz_class / dF_k, by a gradient tape.

    Works for any head between the feature map and the logits. The weights a_k carry no gradient. The
    map is not normalised (see `normalize_map`).

    Args:
        classifier: `agkd_tf.models.Classifier`.
        images: float32 [B, H, W, C] in [0, 1].
        classes: int32 [B].

    Returns:
        float32 [B, h, w], not negative.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        outputs = classifier.raw(images)
        score = tf.reduce_sum(tf.gather(outputs.logits, classes, batch_dims=1))
    weights = tf.reduce_mean(tape.gradient(score, outputs.features), axis=[1, 2])
    return _weighted_map(outputs.features, weights)


def class_activation_map(features, kernel, classes):
    """Returns Grad-CAM in closed form for a network of mean pooling and one dense layer.

    There a_k = W[k, class] / (h * w), so no gradient is needed.

    Args:
        features: float32 [B, h, w, K].
        kernel: float32 [K, num_classes], the dense layer's.
        classes: int32 [B].

    Returns:
        float32 [B, h, w], not negative.

    Source: Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016.
    """
    places = features.shape[1] * features.shape[2]
    return _weighted_map(features, tf.gather(tf.transpose(kernel), classes) / places)


def _weighted_map(features, weights):
    features, weights = tf.cast(features, tf.float32), tf.cast(tf.stop_gradient(weights), tf.float32)
    return tf.nn.relu(tf.einsum("bhwk,bk->bhw", features, weights))
