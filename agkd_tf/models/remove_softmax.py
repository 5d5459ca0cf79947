"""Copies a classifier so that it ends in its logits."""

import keras

from agkd_tf.errors import InputError
from agkd_tf.keras_internals import functional_of
from agkd_tf.models.graph import Graph
from agkd_tf.models.head import scores_without_activation


def remove_softmax(model: keras.Model) -> keras.Model:
    """Returns a copy of a model, with the same weights, that ends before its softmax or other last activation.

    Args:
        model: a functional or sequential `keras.Model` whose scores end in an activation, either built into a last
            dense layer or 1x1 convolution, or a separate layer or operation.

    Raises:
        InputError: if there is no such activation, or the model is not a graph of layers.
    """
    if not isinstance(model, keras.Model) or functional_of(model) is None:
        raise InputError(
            "the softmax of a model that is not a graph of layers cannot be removed: change its code to return logits, "
            f'or use agkd_tf.adapt(model, output="probabilities"). Received: {model!r}'
        )
    original = Graph(model)
    scores, last = scores_without_activation(original)
    if scores in original.outputs:
        raise InputError(f"the last layer has no softmax to remove. Received: {scores.maker.path!r}")

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        # Its built-in activation is replaced here, since it may be a function that cannot be in a configuration.
        linear = {"activation": "linear"} if layer is last else {}
        return type(layer).from_config(layer.get_config() | linear)

    copy = keras.models.clone_model(model, clone_function=clone, recursive=True)
    copy.set_weights(model.get_weights())
    graph = Graph(copy)
    scores, _ = scores_without_activation(graph)
    images = keras.Input(batch_shape=graph.images.shape, name=copy.inputs[0].name, dtype=copy.inputs[0].dtype)
    return keras.Model(images, graph.run([scores], {graph.images: images}, training=None)[0], name=model.name)
