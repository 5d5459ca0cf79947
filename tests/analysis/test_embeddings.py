import numpy as np

from agkd_tf.analysis import embed
from agkd_tf.models import Classifier


def test_embeddings_are_what_the_logits_are_made_of(tiny_model, digits):
    classifier = Classifier(tiny_model)
    images = digits.test.images[:23]
    embeddings = embed(classifier, images, batch_size=10)
    kernel, bias = tiny_model.get_layer("logits").get_weights()
    np.testing.assert_allclose(
        embeddings @ kernel + bias, tiny_model.predict(images / np.float32(255), verbose=0), atol=1e-5
    )
    np.testing.assert_allclose(embed(classifier, images / np.float32(255)), embeddings, atol=1e-6)
