import numpy as np

import agkd_tf.cores
from agkd_tf.analysis import embed
from agkd_tf.models import Classifier


def test_embeddings_are_what_the_logits_are_made_of(tiny_model, digits, monkeypatch):
    classifier = Classifier(tiny_model)
    images = digits.test.images[:23]
    embeddings = embed(classifier, images, batch_size=10)
    kernel, bias = tiny_model.get_layer("logits").get_weights()
    np.testing.assert_allclose(
        embeddings @ kernel + bias, tiny_model.predict(images / np.float32(255), verbose=0), atol=1e-5
    )
    monkeypatch.setattr(agkd_tf.cores, "num_threads", lambda: 3)
    np.testing.assert_allclose(embed(classifier, images / np.float32(255)), embeddings, atol=1e-6)
