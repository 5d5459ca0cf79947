"""Copies a network with new initial weights."""

import itertools

import keras

from agkd_tf.errors import InputError


def with_fresh_weights(model: keras.Model, *, seed: int) -> keras.Model:
    """Returns a copy of a model with new weights, drawn by its layers' own initializers as a function of the seed.

    Args:
        model: a functional or sequential `keras.Model`.
        seed: integer.

    Raises:
        InputError: if the model is not a graph of layers.
    """
    seeds = itertools.count(1000 * seed)

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        for value in config.values():
            if isinstance(value, dict) and "seed" in value.get("config", {}):
                value["config"]["seed"] = next(seeds)
        return type(layer).from_config(config)

    try:
        return keras.models.clone_model(model, clone_function=clone, recursive=True)
    except ValueError as error:
        raise InputError(
            f"the weights of {model.name!r} cannot be initialized anew, since it is not a graph of layers: save the "
            "model before training and give that file"
        ) from error
