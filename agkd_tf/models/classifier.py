"""A Keras classifier seen through three tensors: feature map, embedding, logits."""

from typing import NamedTuple

import keras
import tensorflow as tf

from agkd_tf.errors import InputError
from agkd_tf.models.fused_batch_normalization import fused_pass


class Outputs(NamedTuple):
    """What one forward pass gives.

    Attributes:
        features: float [B, h, w, K], the last convolutional map, the one that is pooled.
        embedding: float [B, K], the pooled features, the input of the last dense layer.
        logits: float [B, num_classes].
    """

    features: tf.Tensor
    embedding: tf.Tensor
    logits: tf.Tensor


class Classifier:
    """Gives a functional Keras model's feature map, embedding and logits in one forward pass.

    It shares the model's layers and owns no weights. Without names, the logits are the model's output
    (before a final `Softmax` or `Activation("softmax")` layer), the embedding is the input of the dense
    layer that makes them, and the feature map is the last 4-D tensor before the embedding.

    Args:
        model: a built functional or sequential `keras.Model` from images in [0, 1], NHWC.
        features, embedding, logits: names of the layers whose outputs these are, where the search
            finds none or the wrong ones.

    Raises:
        InputError: if the model's structure does not show one of the three, or if a dense layer has a
            softmax of its own, which hides the logits (see `remove_softmax`).
    """

    def __init__(self, model, *, features=None, embedding=None, logits=None):
        if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
            raise InputError(f"the classifier must be a functional keras.Model. Received: {model!r}")
        if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
            raise InputError(f"the classifier must take one image batch [B, H, W, C]. Received: {model.inputs}")
        self.model = model
        logits_tensor = _output(model, logits) if logits else _logits_tensor(model)
        logits_layer, inputs = _producer(logits_tensor)
        if _is_softmax(getattr(logits_layer, "activation", None)):
            raise InputError(
                f"layer {logits_layer.name!r} ends in a softmax; losses and attacks need logits: "
                "wrap the model in agkd_tf.models.remove_softmax(model) or build it with Dense(n)"
            )
        if not embedding and len(inputs) != 1:
            raise InputError(
                f"layer {logits_layer.name!r} has {len(inputs)} inputs, none of them the embedding. "
                "Name its layer: embedding=..."
            )
        embedding_tensor = _output(model, embedding) if embedding else inputs[0]
        features_tensor = _output(model, features) if features else _last_map(embedding_tensor)
        self._outputs = keras.Model(model.inputs[0], [features_tensor, embedding_tensor, logits_tensor])
        self._head = _submodel(features_tensor, logits_tensor)
        self._pooled_dense = logits_layer if _is_pooled_dense(logits_layer, inputs, features_tensor) else None
        self.layer_names = {"features": features, "embedding": embedding, "logits": logits}

    @property
    def num_classes(self):
        return int(self._outputs.outputs[2].shape[-1])

    @property
    def image_shape(self):
        return tuple(self.model.inputs[0].shape[1:])

    @property
    def map_shape(self):
        """(h, w) of the feature map."""
        return tuple(self._outputs.outputs[0].shape[1:3])

    def check_head(self):
        """Checks that the logits depend on the image through the feature map alone, as `head` needs it.

        Raises:
            InputError: if they do not.
        """
        if self._head is None:
            raise InputError(
                f"the logits of {self.model.name!r} do not come of its feature map alone: Grad-CAM cannot weigh it"
            )

    def head(self, features):
        """Returns float32 logits [B, num_classes] of feature maps [B, h, w, K], in inference mode; see `check_head`."""
        self.check_head()
        return tf.cast(self._head(features, training=False), tf.float32)

    def check_pooled_dense(self):
        """Checks that the head is mean pooling and one dense layer.

        Raises:
            InputError: if it is not, and `head_kernel` would mean nothing.
        """
        if self._pooled_dense is None:
            raise InputError(
                f"the head of {self.model.name!r} is not mean pooling and one dense layer: averaged activation maps "
                "and nearest boundaries cannot read it"
            )

    @property
    def head_kernel(self):
        """The weights [K, num_classes] between the pooled feature map and the logits; see `check_pooled_dense`."""
        self.check_pooled_dense()
        return self._pooled_dense.kernel

    def __call__(self, images, *, training=False):
        """Returns float32 `Outputs` of float32 images [B, H, W, C] in [0, 1]."""
        return Outputs(*(tf.cast(tensor, tf.float32) for tensor in self.raw(images, training=training)))

    def raw(self, images, *, training=False):
        """Returns `Outputs` in the model's own dtypes: the very tensors of the pass, to differentiate by."""
        return Outputs(*fused_pass(self._outputs, images, training=training))

    def logits(self, images):
        """Returns float32 logits [B, num_classes] in inference mode: what attacks and evaluations see."""
        return self(images).logits


def remove_softmax(model):
    """Returns a copy of `model`, with the same weights, whose last dense layer gives logits.

    Args:
        model: a functional `keras.Model` whose last layer is a `Dense` with `activation="softmax"`.

    Raises:
        InputError: if there is no such layer.
    """
    last = model.layers[-1]
    if not _is_softmax(getattr(last, "activation", None)):
        raise InputError(f"the last layer has no softmax to remove. Received: {last.name!r}")

    def clone(layer):
        config = layer.get_config()
        if layer is last:
            config["activation"] = "linear"
        return layer.__class__.from_config(config)

    copy = keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy


def _output(model, name):
    """Returns the output of the layer called `name`, as it is used in `model` (it may serve others too)."""
    try:
        layer = model.get_layer(name)
    except ValueError as error:
        names = ", ".join(layer.name for layer in model.layers)
        raise InputError(f"the classifier has no layer {name!r}. It has: {names}") from error
    graph = model._functional if isinstance(model, keras.Sequential) else model
    nodes = [node for level in graph._nodes_by_depth.values() for node in level if node.operation is layer]
    return nodes[-1].outputs[0]


def _is_softmax(activation):
    # keras.activations, keras.ops and tf.nn each have their own.
    return getattr(activation, "__name__", "") in ("softmax", "softmax_v2")


def _producer(tensor):
    """Returns (layer, its input tensors) that made a symbolic tensor; no tensors for an input."""
    layer, node_index, _ = tensor._keras_history
    node = layer._inbound_nodes[node_index]
    return layer, list(node.input_tensors)


def _logits_tensor(model):
    tensor = model.outputs[0]
    layer, inputs = _producer(tensor)
    softmax = isinstance(layer, keras.layers.Softmax) or (
        isinstance(layer, keras.layers.Activation) and _is_softmax(layer.activation)
    )
    if softmax:
        tensor = inputs[0]
        layer, _ = _producer(tensor)
    if len(model.outputs) != 1 or not isinstance(layer, keras.layers.Dense):
        raise InputError(
            "the classifier's logits were not found: it does not end in one Dense layer. "
            "Name its layers: features=..., embedding=..., logits=..."
        )
    return tensor


def _submodel(inputs, outputs):
    """Returns the `keras.Model` between two symbolic tensors, or None where the outputs need other inputs too."""
    try:
        return keras.Model(inputs, outputs)
    except ValueError:
        return None


def _is_pooled_dense(logits_layer, inputs, features):
    if not isinstance(logits_layer, keras.layers.Dense) or len(inputs) != 1:
        return False
    pooling, pooled = _producer(inputs[0])
    return isinstance(pooling, keras.layers.GlobalAveragePooling2D) and pooled[0] is features


def _last_map(tensor):
    while True:
        _, inputs = _producer(tensor)
        if inputs and len(tensor.shape) == 4:
            return tensor
        if len(inputs) != 1:
            raise InputError(
                "the classifier's last feature map was not found before its embedding. Name its layer: features=..."
            )
        tensor = inputs[0]
