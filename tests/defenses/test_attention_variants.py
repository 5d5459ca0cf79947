"""The attention maps that can be distilled."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from agkd_tf import InputError
from agkd_tf.attention import ATTENTION_MAPS
from agkd_tf.data.batches import training_batches
from agkd_tf.defenses import AGKD


def attention_map(kind, normalised, f, w, classes):
    if kind == "agkd":
        return normalised(f.sum(-1))
    if kind == "cam_avg":
        return normalised(np.mean([normalised(f @ w[:, c]) for c in range(w.shape[1])], axis=0))
    if kind == "cam_avg_raw":
        return normalised(np.mean([f @ w[:, c] for c in range(w.shape[1])], axis=0))
    cam = np.einsum("bhwk,bk->bhw", f, w.T[classes])
    return normalised(np.maximum(cam, 0) / (f.shape[1] * f.shape[2]))


@pytest.mark.parametrize("kind", sorted(ATTENTION_MAPS))
def test_the_term_equals_its_numpy_transcription(bench, formulas, kind):
    defense = bench.defense("agkd", attention=kind)
    crafted, labels = bench.craft(defense)
    joint = np.concatenate([crafted["forward"], crafted["clean"], crafted["backward"]])
    outputs = defense.classifier(joint, training=True)
    f, z = (np.float64(tensor)[np.r_[0:8, 16:24]] for tensor in (outputs.features, outputs.logits))
    true = np.concatenate([labels, crafted["confusing"]])
    classes = true
    if kind == "gradcam_false":
        z[np.arange(16), true] = -np.inf
    if kind in ("gradcam_false", "gradcam_top"):
        classes = z.argmax(1)
    student = attention_map(kind, formulas.normalised, f, np.float64(defense.classifier.head_kernel), classes)
    clean = np.concatenate([crafted["clean"], crafted["other"]])
    taught = np.float64(defense.guide(clean).features)
    teacher = attention_map(kind, formulas.normalised, taught, np.float64(defense.guide.head_kernel), classes)
    difference = np.abs(student - teacher)
    expected = difference[:8].mean() + difference[8:].mean()
    terms, _ = defense.loss_terms(crafted, labels)
    assert float(terms["attention"]) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("kind", sorted(ATTENTION_MAPS))
def test_the_term_teaches_the_feature_map_and_not_the_head(bench, kind):
    defense = bench.defense("agkd", attention=kind)
    crafted, labels = bench.craft(defense)
    with tf.GradientTape() as tape:
        attention = defense.loss_terms(crafted, labels)[0]["attention"]
    weights = [defense.student.trainable_weights[0].value, defense.classifier.head_kernel.value]
    convolution, head = tape.gradient(attention, weights, unconnected_gradients="zero")
    assert np.any(convolution)
    assert not np.any(head)


@pytest.mark.parametrize(
    "kind",
    ["agkd", *(pytest.param(kind, marks=pytest.mark.slow) for kind in sorted(ATTENTION_MAPS) if kind != "agkd")],
)
def test_the_teacher_is_bit_identical_after_training(bench, kind):
    defense = bench.defense("agkd_bml", attention=kind, weight_decay=0.01)
    before = [weight.copy() for weight in defense.teacher.get_weights()]
    defense.fit(training_batches(bench.data.train, batch_size=16, seed=0), steps_per_epoch=2, verbose=0)
    for old, new in zip(before, defense.teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("kind", sorted(ATTENTION_MAPS))
def test_a_head_that_a_map_cannot_read_is_refused(kind):
    images = keras.Input((8, 8, 1))
    features = keras.layers.Conv2D(2, 3, name="features")(images)
    flat = keras.layers.Flatten()(features)
    student = keras.Model(images, keras.layers.Dense(3)(flat))
    around = keras.layers.Concatenate()([flat, keras.layers.Flatten()(images)])
    other = keras.Model(images, keras.layers.Dense(3)(around))
    names = {"layer_names": {"features": "features"}}
    if kind.startswith("cam_avg"):
        with pytest.raises(InputError, match="mean pooling"):
            AGKD(student, attention=kind)
    else:
        assert AGKD(student, attention=kind).attention == kind
    if kind == "agkd":
        assert AGKD(other, **names).attention == kind
    else:
        with pytest.raises(InputError, match=r"mean pooling|feature map alone"):
            AGKD(other, attention=kind, **names)


@pytest.mark.parametrize("kind", sorted(ATTENTION_MAPS))
def test_maps_of_constant_features_are_finite_zeros(bench, kind):
    classifier = bench.defense("agkd").classifier
    features = np.ones((2, 4, 4, 16), np.float32)
    drawn = ATTENTION_MAPS[kind].draw(features, classifier, np.array([1, 2])).numpy()
    np.testing.assert_allclose(drawn, 0, atol=1e-5)
