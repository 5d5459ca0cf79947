"""A view of a Keras classifier as three tensors: feature map, embedding, logits."""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from agkd_tf.errors import InputError
from agkd_tf.keras_internals import functional_of
from agkd_tf.models.feature_map import FeatureMap, FeatureMaps
from agkd_tf.models.graph import Graph, Tensor
from agkd_tf.models.head import find_head, name_it
from agkd_tf.models.pixel_scale import check_pixel_scale
from agkd_tf.types import Logits


class Outputs(NamedTuple):
    """The outputs of one forward pass.

    Attributes:
        features: float [B, h, w, K], the last convolutional map, or a transformer's tokens arranged in their grid; None
            if none was found in the network.
        embedding: float [B, K], the input of the layer that makes the logits, most often the pooled features; None
            if none was found in the network.
        logits: float [B, num_classes].
    """

    features: tf.Tensor | None
    embedding: tf.Tensor | None
    logits: tf.Tensor


class Classifier:
    """Computes a Keras model's feature map, embedding and logits in one forward pass.

    It shares the model's layers and owns no weights. All three are detected automatically: the logits before any
    softmax (see `find_head`), the embedding as the input of the layer that makes them, and the feature map as the
    last one made by a convolution (see `FeatureMaps`). The search descends into nested models, to any depth. A
    model that is not a graph of layers, such as a subclassed model, has only logits.

    Args:
        model: a built `keras.Model` from images in [0, 1], NHWC, to logits or probabilities.
        features, embedding, logits: paths of the layers that output these, such as `backbone/conv5_block3_out`,
            if the search finds none or the wrong ones.

    Raises:
        InputError: if no logits are found; if the model's first layers or input type show that it takes pixels in a
            range other than [0, 1]; if a named layer does not exist, or cannot be what it is named for.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        features: str | None = None,
        embedding: str | None = None,
        logits: str | None = None,
    ) -> None:
        self.model = model
        self._graph = Graph(model)
        check_pixel_scale(self._graph)
        maps = FeatureMaps(self._graph)
        head = find_head(self._graph, logits=logits)
        self._logits, self._scores = head.logits, head.scores
        if head.scores is None:
            _check_no_probabilities(self._graph, head.logits)
        self._embedding = self._graph.named(embedding) if embedding else head.embedding
        if self._embedding is not None and len(self._embedding.shape) != 2:
            raise InputError(
                f"layer {embedding!r} is not an embedding [B, K]. Its output is: {tuple(self._embedding.shape)}"
            )
        self._map: FeatureMap | None
        self._missing_map: str | None
        if features:
            self._map, self._missing_map = maps.named(features), None
        else:
            start = next(each for each in (embedding and self._embedding, head.source, head.logits) if each)
            self._map, self._missing_map = maps.last(start)
        self._found_maps = maps
        self.layer_names = {"features": features, "embedding": embedding, "logits": logits}

    @property
    def num_classes(self) -> int:
        return int(self._logits.shape[-1])

    @property
    def image_shape(self) -> tuple[int | None, ...]:
        return tuple(self._graph.images.shape[1:])

    @property
    def shows_features(self) -> bool:
        """Whether there is a feature map; see `check_features`."""
        return self._map is not None

    @property
    def map_shape(self) -> tuple[int | None, ...]:
        """(h, w) of the feature map; see `check_features`."""
        return tuple(self._features().grid)

    def has_layer(self, name: str) -> bool:
        """Returns whether the model, or a model nested in it, has a layer of this name."""
        try:
            return self._graph.named(name) is not None
        except InputError:
            return False

    def check_features(self) -> None:
        """Checks that there is a feature map, which attention needs.

        Raises:
            InputError: if there is none, or none with more than one position.
        """
        self._features()

    def _features(self) -> FeatureMap:
        if self._map is None:
            remedy = f"{name_it('features')}, or use a defense without attention. {self._found_maps.shown()}"
            if functional_of(self.model) is None:
                remedy = "It is not a graph of layers: build it as one, keras.Model(inputs, outputs), or use a "
                remedy += "defense without attention"
            raise InputError(f"the classifier {self.model.name!r}: {self._missing_map}. {remedy}")
        return self._map

    def check_embedding(self) -> None:
        """Checks that there is an embedding, which metric losses need.

        Raises:
            InputError: if there is none.
        """
        if self._embedding is None:
            raise InputError(
                f"the classifier {self.model.name!r}: the embedding was not found, since the logits are not the output "
                f"of one dense layer. {name_it('embedding')}, or use a defense without a metric loss"
            )

    def check_head(self) -> None:
        """Checks that the logits depend on the image only through the feature map, which `head` requires.

        Raises:
            InputError: if they do not.
        """
        features = self._features()
        if features.extra or self._graph.depends_on_others([self._logits], {features.tensor: None}):
            raise InputError(
                f"the logits of {self.model.name!r} do not depend on its feature map alone: Grad-CAM cannot weight it"
            )

    def head(self, features: tf.Tensor) -> tf.Tensor:
        """Maps feature maps [B, h, w, K] to float32 logits [B, num_classes] in inference mode; see `check_head`."""
        self.check_head()
        places = self._features()
        given = {places.tensor: places.original(features)}
        (logits,) = self._graph.run([self._logits], given, training=False)
        return tf.cast(logits, tf.float32)

    def check_pooled_dense(self) -> None:
        """Checks that the head is mean pooling and one dense layer.

        Raises:
            InputError: if it is not, since `head_kernel` would then be meaningless.
        """
        self._pooled_dense()

    def _pooled_dense(self) -> keras.layers.Layer:
        features, pooling = self._features(), None if self._embedding is None else self._embedding.step
        if not (
            isinstance(self._scores, (keras.layers.Dense, keras.layers.Conv2D))
            and self._scores.kernel.shape[-1] == self.num_classes
            and pooling is not None
            and isinstance(pooling.operation, keras.layers.GlobalAveragePooling2D)
            and pooling.inputs[0] is features.tensor
        ):
            raise InputError(
                f"the head of {self.model.name!r} is not mean pooling and one dense layer, which averaged activation "
                "maps and nearest boundaries need"
            )
        return self._scores

    @property
    def head_kernel(self) -> tf.Tensor:
        """The weights [K, num_classes] between the pooled feature map and the logits; see `check_pooled_dense`."""
        kernel = self._pooled_dense().kernel
        return kernel if len(kernel.shape) == 2 else tf.reshape(kernel, kernel.shape[-2:])

    def __call__(self, images: tf.Tensor, *, training: bool = False) -> Outputs:
        """Returns float32 `Outputs` of float32 images [B, H, W, C] in [0, 1]."""
        outputs = self.raw(images, training=training)
        return Outputs(*(None if tensor is None else tf.cast(tensor, tf.float32) for tensor in outputs))

    def raw(self, images: tf.Tensor, *, training: bool = False) -> Outputs:
        """Returns `Outputs` in the model's own dtypes, without casts, so that they can be differentiated through."""
        places = None if self._map is None else self._map.tensor
        wanted = [tensor for tensor in (places, self._embedding, self._logits) if tensor is not None]
        found = dict(zip(wanted, self._graph.run(wanted, {self._graph.images: images}, training=training), strict=True))
        features = None if self._map is None else self._map.arranged(found[self._map.tensor])
        embedding = None if self._embedding is None else found[self._embedding]
        return Outputs(features, embedding, found[self._logits])

    def logits(self, images: tf.Tensor) -> tf.Tensor:
        """Returns float32 logits [B, num_classes] in inference mode, which attacks and evaluations use."""
        (logits,) = self._graph.run([self._logits], {self._graph.images: images}, training=False)
        return tf.cast(logits, tf.float32)


def _check_no_probabilities(graph: Graph, logits: Tensor) -> None:
    """Refuses a network with unknown last layers that returns probabilities for a few random images."""
    if logits.shape[1] < 3 and graph.outputs[0].shape[-1] == 1:
        return  # two logits made from one score
    shape = [4, *(size or 32 for size in graph.images.shape[1:])]
    images = np.random.default_rng(0).random(shape, np.float32)
    with tf.init_scope():
        scores = np.asarray(graph.run([logits], {graph.images: tf.constant(images)}, training=False)[0], np.float32)
    if scores.min() >= 0 and np.allclose(scores.sum(1), 1, atol=1e-3):
        raise InputError(
            f"the classifier {graph.model.name!r} returns probabilities, and the layer that makes them was not found; "
            'losses and attacks need logits: agkd_tf.adapt(model, output="probabilities")'
        )


def logits_of(classifier: keras.Model | Classifier | Logits) -> Logits:
    """Returns a classifier as a callable: float32 images [B, H, W, C] in [0, 1] -> float32 logits [B, n].

    Args:
        classifier: a `keras.Model`, a defense or a `Classifier`, which the callable runs in inference mode; or a
            callable that returns logits, which is returned unchanged.

    Raises:
        InputError: for a model whose logits are not found (see `Classifier`), or anything else.
    """
    if isinstance(classifier, keras.Model):
        own = getattr(classifier, "classifier", None)
        classifier = own if isinstance(own, Classifier) else Classifier(classifier)
    if isinstance(classifier, Classifier):
        return classifier.logits
    if not callable(classifier):
        raise InputError(f"give a keras.Model, or a callable that returns logits. Received: {classifier!r}")
    return classifier
