"""The four attention maps that can be distilled."""

import keras
import numpy as np
import pytest

from agkd_tf import InputError
from agkd_tf.attention import ATTENTION_MAPS
from agkd_tf.defenses import AGKD


def normalised(m):
    low, high = m.min((1, 2), keepdims=True), m.max((1, 2), keepdims=True)
    return (m - low) / np.maximum(high - low, 1e-8)


def attention_map(kind, f, w, classes):
    if kind == "agkd":
        return normalised(f.sum(-1))
    if kind == "cam_avg":
        return normalised(np.mean([normalised(f @ w[:, c]) for c in range(w.shape[1])], axis=0))
    cam = np.einsum("bhwk,bk->bhw", f, w.T[classes])
    return normalised(np.maximum(cam, 0) / (f.shape[1] * f.shape[2]))


@pytest.mark.parametrize("kind", sorted(ATTENTION_MAPS))
def test_the_term_equals_its_numpy_transcription(bench, kind):
    defense = bench.defense("agkd", attention=kind)
    crafted, labels = bench.craft(defense)
    joint = np.concatenate([crafted["forward"], crafted["clean"], crafted["backward"]])
    outputs = defense.classifier(joint, training=True)
    f, z = (np.float64(tensor)[np.r_[0:8, 16:24]] for tensor in (outputs.features, outputs.logits))
    true = np.concatenate([labels, crafted["confusing"]])
    classes = true
    if kind == "gradcam_false":
        z[np.arange(16), true] = -np.inf
        classes = z.argmax(1)
    student = attention_map(kind, f, np.float64(defense.classifier.head_kernel), classes)
    clean = np.concatenate([crafted["clean"], crafted["other"]])
    taught = np.float64(defense.guide(clean).features)
    teacher = attention_map(kind, taught, np.float64(defense.guide.head_kernel), classes)
    difference = np.abs(student - teacher)
    expected = difference[:8].mean() + difference[8:].mean()
    terms, _ = defense.loss_terms(crafted, labels)
    assert float(terms["attention"]) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("kind", sorted(set(ATTENTION_MAPS) - {"agkd"}))
def test_a_head_that_class_relevant_maps_cannot_read_is_refused(kind):
    x = images = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(keras.layers.Conv2D(2, 3)(x))
    student = keras.Model(images, keras.layers.Dense(3)(x))
    with pytest.raises(InputError, match="head"):
        AGKD(student, attention=kind)
    assert AGKD(student).attention == "agkd"


@pytest.mark.parametrize("kind", sorted(ATTENTION_MAPS))
def test_maps_of_constant_features_are_finite_zeros(bench, kind):
    classifier = bench.defense("agkd").classifier
    features = np.ones((2, 4, 4, 16), np.float32)
    drawn = ATTENTION_MAPS[kind].draw(features, classifier, np.array([1, 2])).numpy()
    np.testing.assert_allclose(drawn, 0, atol=1e-5)
